//! A list that may be long: appended to, then read from its beginning as often as need be.

use std::io;

use super::{
    Record, Spill, decode, encode, encoded_bytes,
    run::{RunReader, RunWriter},
};

/// Held in memory before a file is made.
const MEMORY_BYTES: usize = 256 * 1024;

/// Takes records.
#[derive(Debug)]
pub(crate) struct Spool {
    spill: Spill,
    memory: Vec<u8>,
    file: Option<RunWriter>,
    encoded: Vec<u8>,
}

impl Spool {
    /// An empty list.
    pub(crate) fn new(spill: Spill) -> Self {
        Self {
            spill,
            memory: Vec::new(),
            file: None,
            encoded: Vec::new(),
        }
    }

    /// Appends a record. Fails when it can't be written.
    pub(crate) fn push(&mut self, key: &[u8], payload: &[u8]) -> io::Result<()> {
        self.encoded.clear();
        encode(&mut self.encoded, key, payload)?;
        if let Some(file) = &mut self.file {
            return file.write(&self.encoded);
        }
        self.memory.extend_from_slice(&self.encoded);
        if self.memory.len() >= MEMORY_BYTES {
            let mut file = RunWriter::new(self.spill.file()?);
            file.write(&std::mem::take(&mut self.memory))?;
            self.file = Some(file);
        }
        Ok(())
    }

    /// All records, to be read.
    pub(crate) fn finish(self) -> io::Result<Spooled> {
        Ok(match self.file {
            Some(file) => Spooled::File(file.finish()?.into_reader()?),
            None => Spooled::Memory(self.memory, 0),
        })
    }
}

/// The records of a [`Spool`], as they went in.
#[derive(Debug)]
pub(crate) enum Spooled {
    Memory(Vec<u8>, usize),
    File(RunReader),
}

impl Spooled {
    /// The next record. Fails when the file can't be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<Record>> {
        match self {
            Self::Memory(bytes, next) => {
                let rest = bytes.get(*next..).unwrap_or_default();
                if rest.is_empty() {
                    return Ok(None);
                }
                let encoded = rest.get(..encoded_bytes(rest)).unwrap_or_default();
                *next += encoded.len();
                Ok(Some(decode(encoded)))
            }
            Self::File(reader) => reader.next(),
        }
    }

    /// The next record is the first one again.
    pub(crate) fn rewind(&mut self) -> io::Result<()> {
        match self {
            Self::Memory(_, next) => {
                *next = 0;
                Ok(())
            }
            Self::File(reader) => reader.rewind(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_lists_are_read_again_as_they_went_in() {
        for records in [0, 3, 20_000] {
            let dir = tempfile::tempdir().unwrap();
            let spill = Spill::new(std::fs::File::open(dir.path()).unwrap().into());
            let mut spool = Spool::new(spill);
            for number in 0..records {
                spool
                    .push(format!("a path that is long {number}").as_bytes(), b"what")
                    .unwrap();
            }
            assert_eq!(spool.file.is_some(), records > 10_000);
            let mut spooled = spool.finish().unwrap();
            for _ in 0..2 {
                for number in 0..records {
                    let record = spooled.next().unwrap().unwrap();
                    assert_eq!(
                        record.key,
                        format!("a path that is long {number}").into_bytes()
                    );
                    assert_eq!(record.payload, b"what");
                }
                assert_eq!(spooled.next().unwrap(), None);
                spooled.rewind().unwrap();
            }
        }
    }
}
