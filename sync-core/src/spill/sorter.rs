//! Sorting: records go in in any order and come out in a key order, in bounded memory.
//!
//! Theory of operation. Records are gathered in one buffer; a full buffer is sorted and written out as a run; runs are
//! merged while they are read. As soon as [`FAN_IN`] runs of one size have gathered they are merged into one of the next
//! size, so that files and read buffers stay few at any number of records. Records with equal keys come out in the order
//! they went in.

use std::{cmp::Ordering, collections::BinaryHeap, io};

use super::{
    Record, Spill, decode, encode, encoded_bytes, key_of, length,
    run::{Run, RunReader, RunWriter},
};
use crate::order::KeyOrder;

/// Runs of one size that are merged into one of the next.
const FAN_IN: usize = 32;

/// Takes records in any order.
#[derive(Debug)]
pub(crate) struct Sorter {
    order: KeyOrder,
    memory_bytes: usize,
    spill: Spill,
    buffer: Buffer,
    /// By size; the runs of a size in the order they were made. Larger ones are older.
    runs: Vec<Vec<Run>>,
}

impl Sorter {
    /// An empty one that holds about `memory_bytes` of records in memory.
    pub(crate) fn new(order: KeyOrder, memory_bytes: usize, spill: Spill) -> Self {
        Self {
            order,
            memory_bytes,
            spill,
            buffer: Buffer::default(),
            runs: Vec::new(),
        }
    }

    /// Takes a record. Fails when a run can't be written.
    pub(crate) fn push(&mut self, key: &[u8], payload: &[u8]) -> io::Result<()> {
        self.buffer.push(key, payload)?;
        if self.buffer.held_bytes() < self.memory_bytes {
            return Ok(());
        }
        self.write_out()
    }

    /// All records in order.
    pub(crate) fn finish(mut self) -> io::Result<Sorted> {
        if self.runs.is_empty() {
            self.buffer.sort(self.order);
            return Ok(Sorted::Memory(self.buffer, 0));
        }
        self.write_out()?;
        let oldest_first = self.runs.into_iter().rev().flatten();
        Ok(Sorted::Merge(Merge::new(self.order, oldest_first)?))
    }

    fn write_out(&mut self) -> io::Result<()> {
        self.buffer.sort(self.order);
        let mut writer = RunWriter::new(self.spill.file()?);
        for index in 0..self.buffer.len() {
            writer.write(self.buffer.encoded(index))?;
        }
        self.buffer.clear();
        self.add(0, writer.finish()?)
    }

    fn add(&mut self, size: usize, run: Run) -> io::Result<()> {
        if self.runs.len() <= size {
            self.runs.resize_with(size + 1, Vec::new);
        }
        let Some(same) = self.runs.get_mut(size) else {
            return Ok(());
        };
        same.push(run);
        if same.len() < FAN_IN {
            return Ok(());
        }
        let mut merge = Merge::new(self.order, std::mem::take(same))?;
        let mut writer = RunWriter::new(self.spill.file()?);
        let mut encoded = Vec::new();
        while let Some(record) = merge.next()? {
            encoded.clear();
            encode(&mut encoded, &record.key, &record.payload)?;
            writer.write(&encoded)?;
        }
        self.add(size + 1, writer.finish()?)
    }
}

/// The records of a [`Sorter`], in order.
#[derive(Debug)]
pub(crate) enum Sorted {
    Memory(Buffer, usize),
    Merge(Merge),
}

impl Sorted {
    /// The next record. Fails when a run can't be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<Record>> {
        match self {
            Self::Memory(buffer, next) => {
                let record = (*next < buffer.len()).then(|| decode(buffer.encoded(*next)));
                *next += 1;
                Ok(record)
            }
            Self::Merge(merge) => merge.next(),
        }
    }
}

/// Encoded records, and where each begins.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    starts: Vec<u32>,
}

impl Buffer {
    fn push(&mut self, key: &[u8], payload: &[u8]) -> io::Result<()> {
        self.starts.push(length(self.bytes.len())?);
        encode(&mut self.bytes, key, payload)
    }

    fn held_bytes(&self) -> usize {
        self.bytes.len() + self.starts.len() * size_of::<u32>()
    }

    fn len(&self) -> usize {
        self.starts.len()
    }

    fn encoded(&self, index: usize) -> &[u8] {
        let start = self.starts.get(index).copied().unwrap_or_default();
        at(&self.bytes, start)
    }

    fn sort(&mut self, order: KeyOrder) {
        let bytes = &self.bytes;
        // Where a record begins tells which of two with the same key came first.
        self.starts.sort_unstable_by(|left, right| {
            order
                .compare(key_of(at(bytes, *left)), key_of(at(bytes, *right)))
                .then(left.cmp(right))
        });
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.starts.clear();
    }
}

/// The record that begins at `start`.
fn at(bytes: &[u8], start: u32) -> &[u8] {
    let rest = usize::try_from(start)
        .ok()
        .and_then(|start| bytes.get(start..));
    let rest = rest.unwrap_or_default();
    rest.get(..encoded_bytes(rest)).unwrap_or_default()
}

/// Runs being merged.
#[derive(Debug)]
pub(crate) struct Merge {
    heads: BinaryHeap<Head>,
    readers: Vec<RunReader>,
}

/// The next record of a run.
#[derive(Debug)]
struct Head {
    order: KeyOrder,
    record: Record,
    run: usize,
}

impl Merge {
    fn new(order: KeyOrder, oldest_first: impl IntoIterator<Item = Run>) -> io::Result<Self> {
        let mut merge = Self {
            heads: BinaryHeap::new(),
            readers: Vec::new(),
        };
        for run in oldest_first {
            let mut reader = run.into_reader()?;
            if let Some(record) = reader.next()? {
                let run = merge.readers.len();
                merge.heads.push(Head { order, record, run });
                merge.readers.push(reader);
            }
        }
        Ok(merge)
    }

    fn next(&mut self) -> io::Result<Option<Record>> {
        let Some(mut head) = self.heads.peek_mut() else {
            return Ok(None);
        };
        let next = match self.readers.get_mut(head.run) {
            Some(reader) => reader.next()?,
            None => None,
        };
        Ok(Some(match next {
            Some(next) => std::mem::replace(&mut head.record, next),
            None => std::collections::binary_heap::PeekMut::pop(head).record,
        }))
    }
}

impl Ord for Head {
    /// The greatest comes first out of a heap: the least key, and of equal ones that of the oldest run.
    fn cmp(&self, other: &Self) -> Ordering {
        self.order
            .compare(&other.record.key, &self.record.key)
            .then(other.run.cmp(&self.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

#[cfg(test)]
mod tests;
