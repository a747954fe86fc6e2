//! What PID 1 needs of a real machine before anything is decided, and nothing else.
//!
//! | module | what |
//! |---|---|
//! | [`modules`] | the modules that come with this kernel, loaded in the order of a list |
//! | [`modprobe`] | modules by name while the device runs, with what they need |
//! | [`disks`] | what block devices there are, and what their file systems are called |
//! | [`place`] | one of them by path, label or id; waiting until it is there |
//! | [`partitions`] | from the storage to its disk, and to the other partitions of the board's layout |
//! | [`fat`] | where on a partition the bytes of a preallocated file lie |
//! | [`gpt`] | a partition table that learns how large its disk is |
//! | [`grow`] | the last partition and its file system, as large as their disk |
//! | [`ext4`] | the bytes of a file as a firmware finds them, which replays no journal |
//! | [`mtd`] | flash without a controller, in erase blocks, as sectors |
//! | [`slots`] | boot images and their labels, in the slots of a board whose firmware reads no trails |
//! | [`bootloader`] | a bootloader of which there are two copies, renewed in the one that does not boot |
//! | [`emmc`] | those copies: the boot partitions of an eMMC, and the byte that says which one boots |
//! | [`window`] | a part of a medium as a medium of its own |
//! | [`watchdog`] | the timer that ends a boot in which nothing moves, and whether it has ended the last one |
//! | [`pstore`] | what a kernel that gave up has left for this one |
//! | [`entropy`] | a secret that the kernel's random numbers may begin with |
//!
//! Nothing here writes to a disk but [`window`], [`slots`], [`mtd`] and [`bootloader`], and they only where they were opened, and
//! [`gpt`]. Directories of the kernel are arguments, so every rule is tested with trees that are made up.
#![deny(unsafe_code)]

pub mod bootloader;
pub mod disks;
pub mod emmc;
pub mod entropy;
pub mod ext4;
pub mod fat;
pub mod gpt;
pub mod grow;
pub mod modprobe;
pub mod modules;
pub mod mtd;
pub mod partitions;
pub mod place;
pub mod pstore;
pub mod slots;
#[expect(unsafe_code, reason = "ioctls that no safe crate has")]
mod sys;
pub mod watchdog;
pub mod window;
