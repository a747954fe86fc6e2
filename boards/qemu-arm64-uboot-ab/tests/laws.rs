//! The laws of every board.

board_laws::board_laws!(board_qemu_arm64_uboot_ab::QemuArm64UbootAb);
