//! The laws of every board.

board_laws::board_laws!(board_qemu_x86_64_grub::QemuX86Grub);
