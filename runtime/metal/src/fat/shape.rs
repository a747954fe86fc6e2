//! The boot sector of a FAT: which of the three kinds it is, and where its parts lie.
//!
//! ```text
//!   ├ reserved ┼ table ┼ table ┼ root ┼ cluster 2 ┼ cluster 3 ┼ …
//!     boot sector               12 and 16 only; on 32 the root is a row of clusters
//!
//!   clusters   < 4085: FAT12      < 65525: FAT16      else FAT32      nothing else tells the kind
//! ```

use std::fmt;

/// Why a boot sector is of no FAT that can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// The mark at its end is missing.
    Signature,
    /// A field has a value that no FAT has.
    Field(&'static str),
    /// It says that it is larger than its medium.
    Size {
        /// Bytes, as it says.
        says: u64,
        /// Bytes that are there.
        has: u64,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature => f.write_str("no FAT: its first sector does not end with 55 AA"),
            Self::Field(field) => write!(f, "no FAT: {field} is wrong in its first sector"),
            Self::Size { says, has } => write!(f, "a FAT of {says} bytes on a medium of {has}: it is cut off"),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Width {
    Twelve,
    Sixteen,
    ThirtyTwo,
}

/// Where the parts lie, in bytes, all of them within the medium.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    width: Width,
    table: u64,
    root: Root,
    data: u64,
    cluster: u64,
    /// Clusters have the numbers from 2 to this, without it.
    end: u32,
}

/// The root directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Root {
    /// A place of its own.
    Region { at: u64, length: u64 },
    /// A row of clusters like any other.
    Cluster(u32),
}

/// What follows a cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    Cluster(u32),
    End,
    /// The table says that it is free or bad.
    Broken,
}

impl Shape {
    pub(super) fn of(sector: &[u8; 512], medium: u64) -> Result<Self, Unfit> {
        let byte = |at: usize| sector.get(at).copied().map_or(0, u64::from);
        let word = |at: usize| byte(at) | byte(at + 1) << 8;
        let long = |at: usize| word(at) | word(at + 2) << 16;
        if word(510) != 0xAA55 {
            return Err(Unfit::Signature);
        }
        let field = |name: &'static str, fits: bool| if fits { Ok(()) } else { Err(Unfit::Field(name)) };
        let (bytes, per_cluster) = (word(11), byte(13));
        field("the size of a sector", matches!(bytes, 512 | 1024 | 2048 | 4096))?;
        field("the size of a cluster", per_cluster.is_power_of_two())?;
        let (reserved, tables, entries) = (word(14), byte(16), word(17));
        field("the number of reserved sectors", reserved > 0)?;
        field("the number of tables", tables > 0)?;
        let sectors = if word(19) != 0 { word(19) } else { long(32) };
        let table = if word(22) != 0 { word(22) } else { long(36) };
        field("the size of the tables", table > 0)?;
        // Nothing here can overflow: 32 bits times 255 and 4096.
        let root = (entries * 32).div_ceil(bytes);
        let before = reserved + tables * table + root;
        let clusters = sectors.checked_sub(before).ok_or(Unfit::Field("the number of sectors"))? / per_cluster;
        let size = sectors * bytes;
        if size > medium {
            return Err(Unfit::Size { says: size, has: medium });
        }
        let width = match clusters {
            0 => return Err(Unfit::Field("the number of sectors")),
            1..4085 => Width::Twelve,
            4085..65_525 => Width::Sixteen,
            _ => Width::ThirtyTwo,
        };
        let wide = width == Width::ThirtyTwo;
        field("the number of clusters", clusters < 0x0FFF_FFF5)?;
        field("the size of the root directory", wide == (entries == 0) && (wide || word(22) != 0))?;
        let bits = match width {
            Width::Twelve => 12,
            Width::Sixteen => 16,
            Width::ThirtyTwo => 32,
        };
        field("the size of the tables", table * bytes * 8 >= (clusters + 2) * bits)?;
        // Where the tables are not copies of each other, the low bits say which one counts.
        let flags = if wide { word(40) } else { 0 };
        let active = if flags & 0x80 != 0 { flags & 0x0F } else { 0 };
        field("the table in use", active < tables)?;
        let end = u32::try_from(clusters + 2).map_err(|_| Unfit::Field("the number of clusters"))?;
        let region = Root::Region { at: (reserved + tables * table) * bytes, length: root * bytes };
        let first = u32::try_from(long(44)).unwrap_or(0);
        Ok(Self {
            width,
            table: (reserved + active * table) * bytes,
            root: if wide { Root::Cluster(first) } else { region },
            data: before * bytes,
            cluster: per_cluster * bytes,
            end,
        })
    }

    pub(super) fn root(&self) -> Root {
        self.root
    }

    pub(super) fn cluster_bytes(&self) -> u64 {
        self.cluster
    }

    /// Whether numbers of clusters have more than 16 bits.
    pub(super) fn is_wide(&self) -> bool {
        self.width == Width::ThirtyTwo
    }

    /// Where a cluster lies. `None`: there is none of this number.
    pub(super) fn at(&self, cluster: u32) -> Option<u64> {
        let index = cluster.checked_sub(2).filter(|_| cluster < self.end)?;
        Some(self.data + u64::from(index) * self.cluster)
    }

    /// Where the table tells what follows a cluster, and in how many bytes.
    pub(super) fn table_entry(&self, cluster: u32) -> (u64, usize) {
        let index = u64::from(cluster);
        match self.width {
            Width::Twelve => (self.table + index + index / 2, 2),
            Width::Sixteen => (self.table + index * 2, 2),
            Width::ThirtyTwo => (self.table + index * 4, 4),
        }
    }

    /// What those bytes say.
    pub(super) fn next(&self, cluster: u32, bytes: u32) -> Next {
        let (value, bad) = match self.width {
            Width::Twelve if cluster % 2 == 1 => (bytes >> 4, 0xFF7),
            Width::Twelve => (bytes & 0xFFF, 0xFF7),
            Width::Sixteen => (bytes, 0xFFF7),
            Width::ThirtyTwo => (bytes & 0x0FFF_FFFF, 0x0FFF_FFF7),
        };
        match value {
            value if value > bad => Next::End,
            value if value < 2 || value >= self.end => Next::Broken,
            value => Next::Cluster(value),
        }
    }
}
