//! The order that a baseline's rows come in.
//!
//! It is the collation of the table's key, so that rows are read one after the other as they lie in the file and cost
//! nothing to sort. A store that lists in another order is met once; the table is then arranged anew, in one
//! transaction.

use rusqlite::Connection;

use super::{Baseline, BaselineError, PATH_COLUMNS, failed};
use crate::order::KeyOrder;

/// Name of the collation of tree order. A connection that hasn't registered it can't read such a table.
const TREE: &str = "tree";

/// Makes the collations known; must come before anything else that is done with a connection.
pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    connection.create_collation(TREE, |left, right| KeyOrder::Tree.compare(left, right))
}

/// The order of the rows, from the table's own definition: it can't differ from what the file holds.
pub(super) fn of_rows(connection: &Connection) -> rusqlite::Result<KeyOrder> {
    let definition: String = connection.query_row(
        "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = 'path'",
        [],
        |row| row.get(0),
    )?;
    Ok(if definition.contains("COLLATE tree") {
        KeyOrder::Tree
    } else {
        KeyOrder::Bytes
    })
}

fn columns(order: KeyOrder) -> String {
    match order {
        KeyOrder::Bytes => PATH_COLUMNS.to_owned(),
        KeyOrder::Tree => {
            PATH_COLUMNS.replacen("TEXT PRIMARY KEY", "TEXT COLLATE tree PRIMARY KEY", 1)
        }
    }
}

impl Baseline {
    /// The order that rows come in.
    #[must_use]
    pub fn order(&self) -> KeyOrder {
        self.order
    }

    /// Makes rows come in `order` from now on. Rewrites the table if they came in another one: about a second for
    /// 300,000 rows, in bounded memory.
    pub fn arrange(&mut self, order: KeyOrder) -> Result<(), BaselineError> {
        if self.order == order {
            return Ok(());
        }
        tracing::info!(
            ?order,
            "arranging the baseline in the order of the store's listings"
        );
        let columns = columns(order);
        // No ORDER BY: the two orders are the same but for few neighbours, and the file system may have no room to sort.
        let transaction = self.connection.transaction().map_err(failed("arrange"))?;
        transaction
            .execute_batch(&format!(
                "CREATE TABLE arranged ({columns}) WITHOUT ROWID;
                 INSERT INTO arranged SELECT * FROM path;
                 DROP TABLE path;
                 ALTER TABLE arranged RENAME TO path;"
            ))
            .map_err(failed("arrange"))?;
        transaction.commit().map_err(failed("arrange"))?;
        self.order = order;
        Ok(())
    }
}
