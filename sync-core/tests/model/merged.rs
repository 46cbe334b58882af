//! The file that is merged field by field: each writer has a field of its own in it, and may leave half a document.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{
    rules::{MERGED, OURS, THEIRS, key},
    world::{State, World},
};

/// What the writers left in it.
#[derive(Default)]
pub(crate) struct Merged {
    /// The last value of the local writer's field, unless that writer deleted or broke the file since.
    ours: Option<u64>,
    /// The last value of the other users' field.
    theirs: Option<u64>,
    /// The half document that the local writer left.
    broken_here: Option<Bytes>,
    broken_there: bool,
    /// What the other users left: the engine never writes there.
    pub(crate) there: Option<Bytes>,
    values: u64,
}

impl Merged {
    pub(crate) fn deleted_here(&mut self) {
        self.ours = None;
        self.broken_here = None;
    }

    /// Whether one of the documents can't be merged.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken_here.is_some() || self.broken_there
    }

    fn next_value(&mut self) -> u64 {
        self.values += 1;
        self.values
    }
}

impl World {
    pub(crate) fn set_field_here(&self, state: &mut State) {
        let value = state.merged.next_value();
        let content = with_field(self.local_content(MERGED), OURS, value);
        self.replace(MERGED, &content);
        state.merged.ours = Some(value);
        state.merged.broken_here = None;
        state.changed_locally(MERGED, Some(content));
    }

    pub(crate) fn break_merged_here(&self, state: &mut State) {
        let Some(content) = self.local_content(MERGED) else {
            return;
        };
        let half = content.slice(..content.len() / 2);
        self.replace(MERGED, &half);
        state.merged.ours = None;
        state.merged.broken_here = Some(half.clone());
        state.changed_locally(MERGED, Some(half));
    }

    pub(crate) fn set_field_there(&self, state: &mut State) {
        let value = state.merged.next_value();
        let content = with_field(self.remote_content(MERGED), THEIRS, value);
        self.bucket.insert(&key(MERGED), content.clone());
        state.merged.theirs = Some(value);
        state.merged.broken_there = false;
        state.changed_remotely(MERGED, Some(content));
    }

    pub(crate) fn break_merged_there(&self, state: &mut State) {
        let Some(content) = self.remote_content(MERGED) else {
            return;
        };
        let half = content.slice(..content.len() / 2);
        self.bucket.insert(&key(MERGED), half.clone());
        state.merged.broken_there = true;
        state.changed_remotely(MERGED, Some(half));
    }

    /// Makes whole documents of the broken ones.
    pub(crate) fn mend_merged(&self) {
        let mut state = self.state();
        if state.merged.broken_here.is_some() {
            self.set_field_here(&mut state);
        }
        if state.merged.broken_there {
            self.set_field_there(&mut state);
        }
    }

    /// What must always hold of it: the object is the other users' alone, the file is a whole document with the local
    /// writer's field in it, and a broken one is left as it is.
    pub(crate) fn check_merged(&self) {
        let (local, remote) = (self.local_content(MERGED), self.remote_content(MERGED));
        let mut state = self.state();
        let mut wrong = Vec::new();
        if remote != state.merged.there {
            wrong.push(format!("the merged file was sent: {remote:?}"));
        }
        let merged = &state.merged;
        match (&merged.broken_here, &local) {
            (Some(broken), found) if found.as_ref() != Some(broken) => {
                wrong.push(format!("the broken file was touched: {found:?}"));
            }
            (None, None) if merged.ours.is_some() => wrong.push("the merged file is lost".into()),
            (None, Some(content)) if document(content).is_none() => {
                wrong.push(format!("no document: {content:?}"));
            }
            (None, Some(content))
                if merged.ours.is_some() && field(content, OURS) != merged.ours =>
            {
                wrong.push(format!("{OURS} was {:?}: {content:?}", merged.ours));
            }
            (Some(_) | None, _) => {}
        }
        state.violations.extend(wrong);
    }

    /// What must hold when everything has come to rest: the file has the other users' field as the object has it.
    pub(crate) fn check_merged_at_rest(&self) {
        let (local, remote) = (self.local_content(MERGED), self.remote_content(MERGED));
        let Some(remote) = remote else {
            return;
        };
        let here = local.as_ref().and_then(|content| field(content, THEIRS));
        let there = field(&remote, THEIRS);
        if here != there {
            self.violation(format!("{THEIRS} is {there:?}, and here {here:?}"));
        }
    }
}

/// `None` for what is no object.
fn document(content: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(content).ok()
}

fn field(content: &[u8], name: &str) -> Option<u64> {
    document(content)?.get(name).and_then(Value::as_u64)
}

fn with_field(content: Option<Bytes>, name: &str, value: u64) -> Bytes {
    let mut document = content
        .and_then(|content| document(&content))
        .unwrap_or_default();
    document.insert(name.to_owned(), value.into());
    serde_json::to_vec(&document).unwrap().into()
}
