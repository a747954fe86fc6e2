//! The laws of every board.

board_laws::board_laws!(board_qemu_arm_orangepi_pc::OrangePiPc);
