//! Takes typed values out of a table and notes what is wrong, so that one reading finds every mistake.
//!
//! Owns the messages about types, missing and unknown fields. Never knows what a field is for.

use std::{cell::RefCell, collections::BTreeSet, time::Duration};

use super::{
    glob::Glob,
    mistake::{Mistake, Place},
    tree::{Node, Table, Value},
    variables::{StoreKeys, Variables},
};
use crate::path::RelPath;

/// Whether what is read is all there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// It is: what is missing is a mistake.
    Whole,
    /// It extends another layout: what is missing may be there.
    Part,
}

/// What all readers of one layout share.
pub(super) struct Context<'a> {
    pub(super) variables: &'a Variables,
    pub(super) extent: Extent,
    mistakes: RefCell<Vec<Mistake>>,
}

impl<'a> Context<'a> {
    pub(super) fn new(variables: &'a Variables, extent: Extent) -> Self {
        Self {
            variables,
            extent,
            mistakes: RefCell::default(),
        }
    }

    /// Notes a mistake; reading goes on.
    pub(super) fn mistake(&self, place: &Place, message: impl Into<String>) {
        self.mistakes
            .borrow_mut()
            .push(Mistake::new(place, message));
    }

    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        self.mistakes.into_inner()
    }

    /// `text` with its variables filled in. Keys of the store are a mistake: a resolved layout is shown to people.
    pub(super) fn fill(&self, text: &str, place: &Place) -> Option<String> {
        let filled = self.fill_with_keys(text, place)?;
        let Some(key) = StoreKeys::first_in(&filled) else {
            return Some(filled);
        };
        let message = format!(
            "`{{{}}}` is filled in only when the runtime is started; it can stand in `command` and `env` of [runtime]",
            key.name()
        );
        self.mistake(place, message);
        None
    }

    /// The same, with the names of the store's keys left in it.
    pub(super) fn fill_with_keys(&self, text: &str, place: &Place) -> Option<String> {
        self.variables
            .fill(text)
            .map_err(|error| self.mistake(place, error.to_string()))
            .ok()
    }

    /// A value that must be a text.
    pub(super) fn text<'t>(&self, what: &str, node: &'t Node) -> Option<&'t str> {
        let text = node.as_text();
        if text.is_none() {
            self.mistake(
                &node.place,
                format!("{what} must be a text, not {}", node.kind()),
            );
        }
        text
    }
}

/// The fields of one table. Every field that is asked for is a known one; [`Fields::finish`] reports the others.
pub(super) struct Fields<'c, 't> {
    context: &'c Context<'c>,
    /// How messages call the table, such as `[[mount]]`.
    what: &'static str,
    table: &'t Table,
    known: RefCell<BTreeSet<&'static str>>,
}

impl<'c, 't> Fields<'c, 't> {
    pub(super) fn new(context: &'c Context<'c>, what: &'static str, table: &'t Table) -> Self {
        Self {
            context,
            what,
            table,
            known: RefCell::default(),
        }
    }

    /// Where the table starts.
    pub(super) fn place(&self) -> &'t Place {
        &self.table.place
    }

    /// The field, if it is there.
    pub(super) fn node(&self, name: &'static str) -> Option<&'t Node> {
        self.known.borrow_mut().insert(name);
        self.table.get(name)
    }

    /// Notes that `name` is missing, unless the parent may have it.
    pub(super) fn missing(&self, name: &str) {
        if self.context.extent == Extent::Whole {
            self.context
                .mistake(self.place(), format!("{} has no `{name}`", self.what));
        }
    }

    fn wrong_type(&self, name: &str, expected: &str, node: &Node) {
        self.context.mistake(
            &node.place,
            format!("`{name}` must be {expected}, not {}", node.kind()),
        );
    }

    pub(super) fn text(&self, name: &'static str) -> Option<&'t str> {
        self.context.text(&format!("`{name}`"), self.node(name)?)
    }

    /// The text with its variables filled in.
    pub(super) fn filled(&self, name: &'static str) -> Option<String> {
        let text = self.text(name)?;
        self.context.fill(text, &self.node(name)?.place)
    }

    pub(super) fn flag(&self, name: &'static str) -> Option<bool> {
        let node = self.node(name)?;
        if let Value::Boolean(flag) = node.value {
            return Some(flag);
        }
        self.wrong_type(name, "`true` or `false`", node);
        None
    }

    /// A number from 0 to the largest of `T`.
    pub(super) fn number<T: TryFrom<i64>>(&self, name: &'static str) -> Option<T> {
        let node = self.node(name)?;
        let Value::Integer(number) = node.value else {
            self.wrong_type(name, "a number", node);
            return None;
        };
        let number = T::try_from(number);
        if number.is_err() {
            self.context
                .mistake(&node.place, format!("`{name}` is out of range"));
        }
        number.ok()
    }

    pub(super) fn duration(&self, name: &'static str) -> Option<Duration> {
        let text = self.text(name)?;
        self.parsed(
            name,
            parse_duration(text)
                .ok_or("is no duration; write a number and ms, s, m or h, like \"5s\""),
        )
    }

    pub(super) fn rel_path(&self, name: &'static str) -> Option<RelPath> {
        let text = self.text(name)?;
        self.parsed(
            name,
            RelPath::new(text)
                .map_err(|error| format!("must be a path in the workspace: {}", error.reason())),
        )
    }

    /// The value of a field that was read from its text, or a mistake.
    pub(super) fn parsed<T, E: std::fmt::Display>(
        &self,
        name: &'static str,
        result: Result<T, E>,
    ) -> Option<T> {
        let place = self.node(name).map_or(self.place(), |node| &node.place);
        result
            .map_err(|error| self.context.mistake(place, format!("`{name}` {error}")))
            .ok()
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&self, name: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let found = choices
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value);
        let words = || list(choices.iter().map(|(word, _)| *word));
        self.parsed(
            name,
            found.ok_or_else(|| format!("is \"{text}\"; it must be one of {}", words())),
        )
    }

    /// The items of a list; nothing when it is absent.
    pub(super) fn items(&self, name: &'static str) -> &'t [Node] {
        let Some(node) = self.node(name) else {
            return &[];
        };
        if let Value::List(items) = &node.value {
            return items;
        }
        self.wrong_type(name, "a list", node);
        &[]
    }

    /// True when the list is absent or empty.
    pub(super) fn lacks_items(&self, name: &'static str) -> bool {
        match self.node(name).map(|node| &node.value) {
            Some(Value::List(items)) => items.is_empty(),
            other => other.is_none(),
        }
    }

    /// The texts of a list, each with its place; nothing when it is absent.
    pub(super) fn texts(&self, name: &'static str) -> Vec<(&'t str, &'t Place)> {
        let what = format!("every item of `{name}`");
        let text_of = |item: &'t Node| Some((self.context.text(&what, item)?, &item.place));
        self.items(name).iter().filter_map(text_of).collect()
    }

    pub(super) fn globs(&self, name: &'static str) -> Vec<Glob> {
        self.each(name, |text| {
            Glob::new(text).map_err(|error| error.to_string())
        })
    }

    pub(super) fn rel_paths(&self, name: &'static str) -> Vec<RelPath> {
        self.each(name, |text| {
            RelPath::new(text).map_err(|error| error.to_string())
        })
    }

    /// Each text of a list, read by `read`.
    pub(super) fn each<T>(
        &self,
        name: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let read = |(text, place)| {
            read(text)
                .map_err(|message| self.context.mistake(place, message))
                .ok()
        };
        self.texts(name).into_iter().filter_map(read).collect()
    }

    /// Program and arguments with their variables filled in; `None` when the field is absent or wrong.
    pub(super) fn command(&self, name: &'static str) -> Option<Vec<String>> {
        self.words(name, |text, place| self.context.fill(text, place))
    }

    /// The same, with the names of the store's keys left in it.
    pub(super) fn command_with_keys(&self, name: &'static str) -> Option<Vec<String>> {
        self.words(name, |text, place| self.context.fill_with_keys(text, place))
    }

    fn words(
        &self,
        name: &'static str,
        fill: impl Fn(&str, &Place) -> Option<String>,
    ) -> Option<Vec<String>> {
        let node = self.node(name)?;
        let words: Option<Vec<_>> = self
            .texts(name)
            .into_iter()
            .map(|(text, place)| fill(text, place))
            .collect();
        let words = words?;
        if words.first().is_none_or(String::is_empty) {
            self.context.mistake(
                &node.place,
                format!("`{name}` must be a list of a program and its arguments"),
            );
            return None;
        }
        Some(words)
    }

    pub(super) fn table(&self, name: &'static str) -> Option<&'t Table> {
        let node = self.node(name)?;
        let table = node.as_table();
        if table.is_none() {
            self.wrong_type(name, "a table", node);
        }
        table
    }

    /// The tables of a list of tables.
    pub(super) fn tables(&self, name: &'static str) -> Vec<&'t Table> {
        let table_of = |item: &'t Node| {
            let table = item.as_table();
            if table.is_none() {
                self.wrong_type(name, "a list of tables", item);
            }
            table
        };
        self.items(name).iter().filter_map(table_of).collect()
    }

    /// Reports the fields that nobody asked for.
    pub(super) fn finish(&self) {
        let known = self.known.borrow();
        for (name, field) in self
            .table
            .fields
            .iter()
            .filter(|(name, _)| !known.contains(name.as_str()))
        {
            let names = list(known.iter().copied());
            self.context.mistake(
                &field.place,
                format!("{} has no field `{name}`; it takes {names}", self.what),
            );
        }
    }
}

/// Words in backquotes, joined by commas.
pub(super) fn list<'w>(words: impl Iterator<Item = &'w str>) -> String {
    words
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn parse_duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(unit_at)?;
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_a_unit() {
        for (text, expected) in [
            ("500ms", Some(Duration::from_millis(500))),
            ("5s", Some(Duration::from_secs(5))),
            ("2m", Some(Duration::from_mins(2))),
            ("1h", Some(Duration::from_hours(1))),
            ("0s", Some(Duration::ZERO)),
            ("5", None),
            ("s", None),
            ("", None),
            ("-5s", None),
            ("1.5s", None),
            ("5 s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
        ] {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }
}
