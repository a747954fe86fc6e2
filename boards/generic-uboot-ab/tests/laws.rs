//! The laws of every board.

board_laws::board_laws!(board_generic_uboot_ab::UbootAb);
