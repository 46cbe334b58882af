//! A layout's text as a tree in which every value knows where it was written.
//!
//! Owns TOML. Never knows what a field means; that is the readers' part.

use std::{collections::BTreeMap, sync::Arc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::mistake::{Mistake, Place};

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// A value of TOML.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Node>),
    Table(Table),
    /// Something that no layout has a use for; the text is its kind.
    Other(&'static str),
}

/// Named values.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) place: Place,
    pub(super) fields: BTreeMap<String, Field>,
}

/// A named value; the place is that of the name.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) place: Place,
    pub(super) node: Node,
}

impl Node {
    pub(super) fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value {
            Some(text)
        } else {
            None
        }
    }

    pub(super) fn as_table(&self) -> Option<&Table> {
        if let Value::Table(table) = &self.value {
            Some(table)
        } else {
            None
        }
    }

    /// The kind of value, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Text(_) => "a text",
            Value::Integer(_) => "a number",
            Value::Boolean(_) => "a boolean",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(kind) => kind,
        }
    }
}

impl Table {
    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        self.fields.get(name).map(|field| &field.node)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_text()
    }
}

/// Reads `text`; `file` is its name in messages.
pub(super) fn parse(text: &str, file: &str) -> Result<Table, Vec<Mistake>> {
    let source = Source {
        text,
        file: file.into(),
    };
    let (root, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(source.table(root.get_ref(), 0));
    }
    let mut mistakes: Vec<Mistake> = Vec::new();
    for error in &errors {
        let place = source.place(error.span().map_or(0, |span| span.start));
        // One slip often breaks the rest of its line as well: the first message is the one that helps.
        if mistakes
            .iter()
            .all(|mistake| mistake.place.line != place.line)
        {
            mistakes.push(Mistake::new(&place, error.message()));
        }
    }
    Err(mistakes)
}

struct Source<'a> {
    text: &'a str,
    file: Arc<str>,
}

impl Source<'_> {
    fn place(&self, offset: usize) -> Place {
        Place::of_offset(&self.file, self.text, offset)
    }

    fn table(&self, table: &DeTable<'_>, offset: usize) -> Table {
        let fields = table.iter().map(|(key, value)| {
            let place = self.place(key.span().start);
            (
                key.get_ref().to_string(),
                Field {
                    place,
                    node: self.node(value),
                },
            )
        });
        Table {
            place: self.place(offset),
            fields: fields.collect(),
        }
    }

    fn node(&self, spanned: &Spanned<DeValue<'_>>) -> Node {
        let offset = spanned.span().start;
        let value = match spanned.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(
                    Value::Other("a number of more than 64 bits"),
                    Value::Integer,
                ),
            DeValue::Boolean(truth) => Value::Boolean(*truth),
            DeValue::Array(items) => {
                Value::List(items.iter().map(|item| self.node(item)).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table, offset)),
            DeValue::Float(_) => Value::Other("a fraction"),
            DeValue::Datetime(_) => Value::Other("a date"),
        };
        Node {
            value,
            place: self.place(offset),
        }
    }
}
