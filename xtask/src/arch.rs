//! The architectures of boards, with the names that others have for them.

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// An architecture that a board may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Arch {
    #[serde(rename = "x86_64")]
    X86_64,
    Aarch64,
    Armv7,
}

impl Arch {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 3] = [Self::X86_64, Self::Aarch64, Self::Armv7];

    /// That of this machine, if boards have it.
    pub(crate) fn host() -> Result<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
        .with_context(|| format!("nothing is built on a machine of the kind {}", std::env::consts::ARCH))
    }

    /// As we call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Armv7 => "armv7",
        }
    }

    /// As the distribution's packages call it.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
            Self::Armv7 => "armhf",
        }
    }

    /// As images call it: the architecture and its variant.
    pub(crate) fn oci(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::X86_64 => ("amd64", None),
            Self::Aarch64 => ("arm64", None),
            Self::Armv7 => ("arm", Some("v7")),
        }
    }

    /// The platform that `pvr app add` is told.
    pub(crate) fn platform(self) -> String {
        let (architecture, variant) = self.oci();
        format!("linux/{architecture}{}", variant.map(|variant| format!("/{variant}")).unwrap_or_default())
    }

    /// The compiler's target with musl as its C library.
    pub(crate) fn musl(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-musl",
            Self::Aarch64 => "aarch64-unknown-linux-musl",
            Self::Armv7 => "armv7-unknown-linux-musleabihf",
        }
    }

    /// The directory of that C library, below `usr/lib` and `usr/include` of the distribution.
    pub(crate) fn musl_dir(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-linux-musl",
            Self::Aarch64 => "aarch64-linux-musl",
            Self::Armv7 => "arm-linux-musleabihf",
        }
    }

    /// What the names of the GNU tools for it begin with.
    pub(crate) fn gnu(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-linux-gnu",
            Self::Aarch64 => "aarch64-linux-gnu",
            Self::Armv7 => "arm-linux-gnueabihf",
        }
    }

    /// The emulator that runs one program of it on another machine.
    pub(crate) fn emulator(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-x86_64-static",
            Self::Aarch64 => "qemu-aarch64-static",
            Self::Armv7 => "qemu-arm-static",
        }
    }

    /// As the header of a program says it.
    pub(crate) fn elf(self) -> object::Architecture {
        match self {
            Self::X86_64 => object::Architecture::X86_64,
            Self::Aarch64 => object::Architecture::Aarch64,
            Self::Armv7 => object::Architecture::Arm,
        }
    }
}
