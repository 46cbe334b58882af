//! A run: records in a file without a name, written once, then read from the beginning.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read as _, Seek as _, Write as _},
};

use super::{HEADER_BYTES, Record, lengths};

/// Read at once from a run; a merge has one such buffer for each.
const READ_BYTES: usize = 32 * 1024;
const WRITE_BYTES: usize = 64 * 1024;

/// A finished run.
#[derive(Debug)]
pub(super) struct Run(File);

#[derive(Debug)]
pub(super) struct RunWriter(BufWriter<File>);

impl RunWriter {
    pub(super) fn new(file: File) -> Self {
        Self(BufWriter::with_capacity(WRITE_BYTES, file))
    }

    /// Appends an encoded record.
    pub(super) fn write(&mut self, encoded: &[u8]) -> io::Result<()> {
        self.0.write_all(encoded)
    }

    pub(super) fn finish(self) -> io::Result<Run> {
        self.0
            .into_inner()
            .map(Run)
            .map_err(io::IntoInnerError::into_error)
    }
}

impl Run {
    pub(super) fn into_reader(self) -> io::Result<RunReader> {
        let mut file = self.0;
        file.rewind()?;
        Ok(RunReader(BufReader::with_capacity(READ_BYTES, file)))
    }
}

#[derive(Debug)]
pub(crate) struct RunReader(BufReader<File>);

impl RunReader {
    /// The next record is the first one again.
    pub(super) fn rewind(&mut self) -> io::Result<()> {
        self.0.rewind()
    }

    /// The next record; a run that ends inside of one is an error.
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        use std::io::BufRead as _;
        if self.0.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES];
        self.0.read_exact(&mut header)?;
        let (key_bytes, payload_bytes) = lengths(&header);
        let mut record = Record {
            key: vec![0; key_bytes],
            payload: vec![0; payload_bytes],
        };
        self.0.read_exact(&mut record.key)?;
        self.0.read_exact(&mut record.payload)?;
        Ok(Some(record))
    }
}
