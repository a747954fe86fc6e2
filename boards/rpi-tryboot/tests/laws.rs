//! The laws of every board.

board_laws::board_laws!(board_rpi_tryboot::RpiTryboot);
