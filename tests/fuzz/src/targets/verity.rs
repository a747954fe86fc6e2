//! Tables of volumes that are checked block by block, as they stand in somebody's state.

use cli::verity::table::Table;

pub(crate) fn tables(bytes: &[u8]) {
    let Ok(table) = Table::parse(bytes) else { return };
    let text = table.to_json().canonical();
    assert_eq!(Table::parse(text.as_bytes()), Ok(table), "{text}");
}
