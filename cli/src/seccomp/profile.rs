//! LXC's own language for filters, version 2, so that a profile which a user has can be compiled.
//!
//! ```text
//!   2
//!   denylist                        or allowlist, and what becomes of all other calls: `allowlist errno 1`
//!   reject_force_umount             umount2 with MNT_FORCE is refused
//!   [all]                           the rules of all architectures; then [x86_64], [arm64], …
//!   kexec_load errno 38             a call and what becomes of it; without, it is allowed or kills, as the list says
//!   socket errno 1 [0,40,SCMP_CMP_EQ]      … only with these arguments: index, value, comparison (, mask)
//! ```
//!
//! Source: `lxc.container.conf(5)` and what LXC 5 reads. Two things are stricter, for a line without effect may be the
//! one that confines the container: a name that no architecture has is an error, and so is `notify`, because no
//! process stands by to answer. The rules of architectures that are not those of the image do not count.

use std::fmt;

use formats::seccomp::{Action, Arch};

use super::compile::{Branch, Compare, Condition, Policy, Rule, Verdict};
use super::table;

/// The longest profile, in bytes.
pub(super) const BYTES_MAX: usize = 64 * 1024;

/// The arguments of a call.
const ARGUMENTS: u8 = 6;

/// Why a text is no profile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProfileError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub wrong: Wrong,
}

/// What is wrong with a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// The text is too long or not UTF-8.
    Text,
    /// It is not in version 2.
    Version,
    /// Neither an allowlist nor a denylist.
    List,
    /// An action that is not known, or not served.
    Action(String),
    /// An architecture that is not known.
    Section(String),
    /// No architecture has a call of this name.
    Name(String),
    /// Arguments that cannot be understood.
    Arguments(String),
}

type Result<T> = std::result::Result<T, Wrong>;

/// Reads a profile.
pub(super) fn parse(bytes: &[u8]) -> std::result::Result<Policy, ProfileError> {
    let at = |line| move |wrong| ProfileError { line, wrong };
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= BYTES_MAX).ok_or(at(1)(Wrong::Text))?;
    let mut lines = (1..).zip(text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()));
    let mut said = lines.by_ref().filter(|(_, line)| !line.is_empty());
    let (number, version) = said.next().unwrap_or((1, ""));
    if version != "2" {
        return Err(at(number)(Wrong::Version));
    }
    let (number, list) = said.next().unwrap_or((number, ""));
    let (otherwise, by_default) = kind(list).map_err(at(number))?;
    let (mut rules, mut section) = (Vec::<Rule>::new(), Section::All);
    for (number, line) in said {
        if let Some(name) = line.strip_prefix('[') {
            section = Section::parse(name.strip_suffix(']').unwrap_or(name)).map_err(at(number))?;
            continue;
        }
        let (name, branch) = rule(line, by_default).map_err(at(number))?;
        let arches = match &section {
            Section::All => Arch::ALL.as_slice(),
            Section::Of(arch) => std::slice::from_ref(arch),
            Section::Elsewhere => &[],
        };
        for arch in arches {
            add(&mut rules, name, *arch, &branch, otherwise);
        }
    }
    Ok(Policy { rules, otherwise, unknown: otherwise, foreign: Action::KillProcess })
}

/// The rules of one call are one rule: the first one whose conditions hold, and one without conditions whatever holds.
fn add(rules: &mut Vec<Rule>, name: &str, arch: Arch, branch: &Branch, otherwise: Action) {
    let verdict = || match branch.conditions.as_slice() {
        [] => Verdict::Always(branch.action),
        _ => Verdict::First { branches: vec![branch.clone()], otherwise },
    };
    let before = rules.iter_mut().find(|rule| rule.name == name && rule.on == Some(arch));
    match before.map(|rule| &mut rule.verdict) {
        None => rules.push(Rule { name: name.to_owned(), on: Some(arch), verdict: verdict() }),
        Some(before) if branch.conditions.is_empty() => *before = verdict(),
        Some(Verdict::First { branches, .. }) => branches.push(branch.clone()),
        Some(Verdict::Always(_) | Verdict::If { .. }) => {}
    }
}

/// What becomes of calls that are not named, and of those that are.
fn kind(line: &str) -> Result<(Action, Action)> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let (otherwise, named) = match word {
        "allowlist" | "whitelist" => (Action::KillThread, Action::Allow),
        "denylist" | "blacklist" => (Action::Allow, Action::KillThread),
        _ => return Err(Wrong::List),
    };
    Ok((action(rest)?.unwrap_or(otherwise), named))
}

/// `kill`, `errno N`, `trap` or `allow`; nothing is none.
fn action(text: &str) -> Result<Option<Action>> {
    let words: Vec<&str> = text.split_whitespace().collect();
    Ok(Some(match words.as_slice() {
        [] => return Ok(None),
        ["kill"] => Action::KillThread,
        ["trap"] => Action::Trap(0),
        ["allow"] => Action::Allow,
        // The kernel knows no greater one.
        ["errno", number] => match number.parse() {
            Ok(number @ 0..=4095) => Action::Errno(number),
            _ => return Err(Wrong::Action(text.to_owned())),
        },
        _ => return Err(Wrong::Action(text.to_owned())),
    }))
}

enum Section {
    All,
    Of(Arch),
    /// Of machines that Cairn does not run on, and the x32 calls, which there are none of.
    Elsewhere,
}

impl Section {
    fn parse(name: &str) -> Result<Self> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "all" => Self::All,
            "x86" | "i386" => Self::Of(Arch::I386),
            "x86_64" => Self::Of(Arch::X86_64),
            "arm" => Self::Of(Arch::Arm),
            "arm64" | "aarch64" => Self::Of(Arch::Aarch64),
            "riscv64" => Self::Of(Arch::Riscv64),
            "x32" | "ppc" | "ppc64" | "ppc64le" | "mips" | "mips64" | "mips64n32" | "mipsel" | "mipsel64"
            | "mipsel64n32" | "s390" | "s390x" | "loongarch64" => Self::Elsewhere,
            _ => return Err(Wrong::Section(name.to_owned())),
        })
    }
}

fn rule(line: &str, by_default: Action) -> Result<(&str, Branch)> {
    const FORCE: Condition = Condition { argument: 1, compare: Compare::Masked { mask: 1 }, value: 1 };
    if line == "reject_force_umount" {
        return Ok(("umount2", Branch { conditions: vec![FORCE], action: Action::Errno(13) }));
    }
    let (head, arguments) = line.find('[').map_or((line, ""), |at| line.split_at(at));
    let (name, rest) = head.split_once(char::is_whitespace).unwrap_or((head, ""));
    if !Arch::ALL.into_iter().any(|arch| table::calls(arch).any(|(_, call)| call == name)) {
        return Err(Wrong::Name(name.to_owned()));
    }
    let action = action(rest)?.unwrap_or(by_default);
    let conditions = conditions(arguments).ok_or_else(|| Wrong::Arguments(arguments.to_owned()))?;
    Ok((name, Branch { conditions, action }))
}

/// `[index,value,comparison]` and `[index,value,comparison,mask]`, as many as there are.
fn conditions(text: &str) -> Option<Vec<Condition>> {
    let mut rest = text.trim();
    let mut conditions = Vec::new();
    while !rest.is_empty() {
        let (inside, behind) = rest.strip_prefix('[')?.split_once(']')?;
        conditions.push(condition(inside)?);
        rest = behind.trim_start();
    }
    (conditions.len() <= usize::from(ARGUMENTS)).then_some(conditions)
}

fn condition(inside: &str) -> Option<Condition> {
    let parts: Vec<&str> = inside.split(',').map(str::trim).collect();
    let (&[index, value, compare], mask) = parts.split_first_chunk()?;
    let compare = match (compare, mask) {
        ("SCMP_CMP_MASKED_EQ" | "&=", [mask]) => Compare::Masked { mask: number(mask)? },
        ("SCMP_CMP_NE" | "!=", []) => Compare::NotEqual,
        ("SCMP_CMP_LT" | "<", []) => Compare::Less,
        ("SCMP_CMP_LE" | "<=", []) => Compare::AtMost,
        ("SCMP_CMP_EQ" | "==", []) => Compare::Equal,
        ("SCMP_CMP_GE" | ">=", []) => Compare::AtLeast,
        ("SCMP_CMP_GT" | ">", []) => Compare::Greater,
        _ => return None,
    };
    let argument = index.parse().ok().filter(|index| *index < ARGUMENTS)?;
    Some(Condition { argument, compare, value: number(value)? })
}

/// As in C: decimal, `0x…`, `0…`.
fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match (text.strip_prefix("0x").or(text.strip_prefix("0X")), text.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        (None, _) => (text, 10),
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    u64::from_str_radix(digits, radix).ok().filter(|_| plain)
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.wrong {
            Wrong::Text => write!(f, "a profile is UTF-8 of at most {BYTES_MAX} bytes"),
            Wrong::Version => f.write_str(
                "only version 2 is read, which begins with the line `2`; that of 1 has numbers of one machine",
            ),
            Wrong::List => f.write_str("the second line is `allowlist` or `denylist`"),
            Wrong::Action(text) => {
                write!(f, "{text:?} is none of kill, trap, allow and errno N; nobody would answer `notify`")
            }
            Wrong::Section(name) => write!(f, "{name:?} is no architecture like all, x86_64 or arm64"),
            Wrong::Name(name) => write!(f, "no architecture has a call {name:?}"),
            Wrong::Arguments(text) => write!(f, "{text:?} is not [index,value,comparison] or with a mask behind"),
        }
    }
}

impl std::error::Error for ProfileError {}

#[cfg(test)]
mod tests {
    use formats::seccomp::{Call, Filter};

    use super::*;
    use crate::seccomp::of_profile;

    /// What LXC brings for containers of all kinds, and what a careful one has.
    const DENY: &str = "2\ndenylist\nreject_force_umount  # comment\n[all]\nkexec_load errno 1\nopen_by_handle_at errno 1\n\
        init_module errno 1\nfinit_module errno 1\ndelete_module errno 1\n";

    fn decide(filter: &Filter, arch: Arch, name: &str, args: [u64; 3]) -> Action {
        let (number, _) = table::calls(arch).find(|(_, call)| *call == name).unwrap();
        let [a, b, c] = args;
        filter.decide(&Call { arch: arch.audit(), number, args: [a, b, c, 0, 0, 0], ..Call::default() })
    }

    fn wrong(text: &str) -> (usize, String) {
        let error = parse(text.as_bytes()).unwrap_err();
        (error.line, error.to_string())
    }

    #[test]
    fn a_denylist_refuses_what_it_names_on_every_architecture_of_the_family() {
        let filter = of_profile(DENY.as_bytes(), Arch::X86_64).unwrap();
        for arch in [Arch::X86_64, Arch::I386] {
            assert_eq!(filter.serves(arch), Ok(()));
            assert_eq!(decide(&filter, arch, "kexec_load", [0; 3]), Action::Errno(1));
            assert_eq!(decide(&filter, arch, "mount", [0; 3]), Action::Allow);
            assert_eq!(decide(&filter, arch, "umount2", [0, 1, 0]), Action::Errno(13));
            assert_eq!(decide(&filter, arch, "umount2", [0, 2, 0]), Action::Allow);
        }
        let x32 = Call { arch: Arch::X86_64.audit(), number: 0x4000_00f6, ..Call::default() };
        assert_eq!(filter.decide(&x32), Action::Errno(38), "kexec_load under another number");
    }

    #[test]
    fn an_allowlist_allows_what_it_names_and_its_first_line_says_what_becomes_of_the_rest() {
        let text = "2\nallowlist errno 38\nread\nexecve\nexit_group\nwrite trap\n[x86]\nmount\n[arm64]\nptrace\n[ppc64le]\nbpf\n";
        let filter = of_profile(text.as_bytes(), Arch::X86_64).unwrap();
        assert_eq!(decide(&filter, Arch::X86_64, "read", [0; 3]), Action::Allow);
        assert_eq!(decide(&filter, Arch::X86_64, "write", [0; 3]), Action::Trap(0));
        assert_eq!(decide(&filter, Arch::X86_64, "mount", [0; 3]), Action::Errno(38));
        assert_eq!(decide(&filter, Arch::I386, "mount", [0; 3]), Action::Allow);
        assert_eq!(decide(&filter, Arch::I386, "bpf", [0; 3]), Action::Errno(38));
        let kill = of_profile(b"2\nwhitelist\nread\n", Arch::Arm).unwrap();
        assert_eq!(decide(&kill, Arch::Aarch64, "write", [0; 3]), Action::KillThread);
    }

    #[test]
    fn arguments_are_compared_as_they_say_in_64_bits() {
        let holds = |condition: &str, value: u64| {
            let text = format!("2\ndenylist\nkill errno 7 {condition}\n");
            let filter = of_profile(text.as_bytes(), Arch::Riscv64).unwrap();
            decide(&filter, Arch::Riscv64, "kill", [3, value, 0]) == Action::Errno(7)
        };
        const BIG: u64 = 5 << 32;
        let values = [0, 4, 5, 6, BIG, BIG | 4, BIG | 5, BIG | 6, 6 << 32, u64::MAX];
        for pivot in [0, 5, BIG | 5, BIG, u64::MAX] {
            for value in values {
                let is = |compare: &str| holds(&format!("[1,{pivot},{compare}]"), value);
                let all = ["==", "!=", "<", "<=", ">=", ">"].map(is);
                let said =
                    [value == pivot, value != pivot, value < pivot, value <= pivot, value >= pivot, value > pivot];
                assert_eq!(all, said, "{value:#x} and {pivot:#x}");
                let masked = holds(&format!("[1,{pivot},SCMP_CMP_MASKED_EQ,0xf0000000f]"), value);
                assert_eq!(masked, value & 0xf_0000_000f == pivot, "{value:#x} and {pivot:#x}");
            }
        }
        assert!(holds("[0,0x3,SCMP_CMP_EQ] [1,010,SCMP_CMP_EQ]", 8));
        assert!(!holds("[0,0x3,SCMP_CMP_NE][1,010,SCMP_CMP_EQ]", 8));
    }

    #[test]
    fn the_first_rule_that_holds_counts_and_one_without_conditions_always() {
        let text = "2\ndenylist\nkill errno 1 [1,9,==]\nkill errno 2 [1,10,<]\nkill errno 3 [1,15,==]\n";
        let filter = of_profile(text.as_bytes(), Arch::Arm).unwrap();
        let said = [9, 8, 15, 16].map(|signal| decide(&filter, Arch::Arm, "kill", [0, signal, 0]));
        assert_eq!(said, [Action::Errno(1), Action::Errno(2), Action::Errno(3), Action::Allow]);
        let text = "2\ndenylist\n[arm]\nkill errno 1\n[all]\nkill errno 2\n";
        let filter = of_profile(text.as_bytes(), Arch::Arm).unwrap();
        let said = [Arch::Arm, Arch::Aarch64].map(|arch| decide(&filter, arch, "kill", [0; 3]));
        assert_eq!(said, [Action::Errno(2); 2], "the last one of those without conditions");
        for order in ["kill errno 4\nkill errno 1 [1,9,==]", "kill errno 1 [1,9,==]\nkill errno 4"] {
            let filter = of_profile(format!("2\ndenylist\n{order}\n").as_bytes(), Arch::Arm).unwrap();
            assert_eq!(decide(&filter, Arch::Arm, "kill", [0, 9, 0]), Action::Errno(4));
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for (text, line, part) in [
            ("", 1, "version 2"),
            ("1\n0\n", 1, "version 2"),
            ("2\n", 1, "allowlist"),
            ("2\ngreylist\n", 2, "allowlist"),
            ("2\ndenylist ask\n", 2, "none of kill"),
            ("2\ndenylist\n\nmount notify\n", 4, "notify"),
            ("2\ndenylist\nmount errno 4096\n", 3, "errno N"),
            ("2\ndenylist\nmount errno\n", 3, "errno N"),
            ("2\ndenylist\nmuont errno 1\n", 3, "\"muont\""),
            ("2\ndenylist\n[vax]\nmount errno 1\n", 3, "\"vax\""),
            ("2\ndenylist\nkill errno 1 [6,0,==]\n", 3, "[index"),
            ("2\ndenylist\nkill errno 1 [1,0,=]\n", 3, "[index"),
            ("2\ndenylist\nkill errno 1 [1,0,&=]\n", 3, "[index"),
            ("2\ndenylist\nkill errno 1 [1,0,==\n", 3, "[index"),
            ("2\ndenylist\nkill errno 1 [1,+1,==]\n", 3, "[index"),
            ("2\ndenylist\nkill errno 1 [1,0,==]x\n", 3, "[index"),
        ] {
            let (at, said) = wrong(text);
            assert!(at == line && said.contains(part), "{text:?}: {said}");
        }
        assert_eq!(parse(b"\xff").unwrap_err().wrong, Wrong::Text);
    }
}
