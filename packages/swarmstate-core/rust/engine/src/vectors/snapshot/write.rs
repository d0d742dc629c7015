//! Writes the payload of a segment while others read and write the index.

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::Arc;

use super::super::index::Inner;
use super::super::state::State;
use super::super::table::Entry;
use super::Position;
use super::segment::{DOUBTFUL, END, NOWHERE, Output, RECORD, REMOVED, put_bytes, put_numbers};

/// Number of records processed per hold of the lock.
const STEP: usize = 512;

/// Which records to write.
pub(super) enum What<'a> {
    Everything,
    These(&'a HashSet<Arc<str>>),
}

/// Writes a payload.
pub(super) fn write<W: Write>(
    inner: &Inner,
    position: &Position,
    what: &What<'_>,
    output: &mut Output<W>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    let shape = {
        let state = inner.read();
        let shape = Shape::of(&state);
        shape.begin(&state, position, what, &mut buffer)?;
        shape
    };
    output.write(&buffer)?;
    match what {
        What::Everything => {
            let mut next = 0;
            loop {
                buffer.clear();
                let state = inner.read();
                let numbers = state.table.numbers();
                if next >= numbers {
                    break;
                }
                for record in next..numbers.min(next + STEP) {
                    if let Some(entry) = state.table.entry(record as u32) {
                        shape.put(&state, record as u32, entry, &mut buffer)?;
                    }
                }
                drop(state);
                next += STEP;
                output.write(&buffer)?;
            }
        }
        What::These(ids) => {
            let ids: Vec<&Arc<str>> = ids.iter().collect();
            for ids in ids.chunks(STEP) {
                buffer.clear();
                let state = inner.read();
                for id in ids {
                    match state.table.find(id) {
                        Some((record, entry)) => shape.put(&state, record, entry, &mut buffer)?,
                        None => {
                            buffer.push(REMOVED);
                            put_bytes(&mut buffer, id.as_bytes())?;
                        }
                    }
                }
                drop(state);
                output.write(&buffer)?;
            }
        }
    }
    output.write(&[END])
}

/// What a vector must match to be written; those that changed meanwhile are read again anyway.
struct Shape {
    dimensions: usize,
    /// The clusters that the vectors' cluster numbers refer to.
    clusters: Option<u64>,
}

impl Shape {
    fn of(state: &State) -> Self {
        Self {
            dimensions: state
                .matrix
                .as_ref()
                .map_or(0, |matrix| matrix.dimensions()),
            clusters: state.generation(),
        }
    }

    fn begin(
        &self,
        state: &State,
        position: &Position,
        what: &What<'_>,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        put_bytes(buffer, position.namespace.as_bytes())?;
        buffer.extend((position.cursors.len() as u32).to_le_bytes());
        for cursor in &position.cursors {
            put_bytes(buffer, cursor.as_bytes())?;
        }
        buffer.extend((self.dimensions as u32).to_le_bytes());
        buffer.extend(self.clusters.unwrap_or(0).to_le_bytes());
        match (&state.clusters, what) {
            (Some(clusters), What::Everything) => clusters.write(buffer),
            _ => buffer.extend(0_u32.to_le_bytes()),
        }
        // These may differ from what is stored; the process that loads the file reads them again.
        for id in &state.doubtful {
            buffer.push(DOUBTFUL);
            put_bytes(buffer, id.as_bytes())?;
        }
        Ok(())
    }

    fn put(
        &self,
        state: &State,
        record: u32,
        entry: &Entry,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        let (scope, categories) = state.table.labels(record);
        buffer.push(RECORD);
        put_bytes(buffer, entry.id.as_bytes())?;
        put_bytes(buffer, scope)?;
        put_bytes(buffer, categories)?;
        put_bytes(buffer, &entry.value)?;
        let matrix = state
            .matrix
            .as_ref()
            .filter(|matrix| matrix.dimensions() == self.dimensions);
        let Some(matrix) = matrix else {
            buffer.extend(0_u32.to_le_bytes());
            return Ok(());
        };
        let clusters = state
            .clusters
            .as_ref()
            .filter(|clusters| Some(clusters.generation) == self.clusters);
        buffer.extend((entry.rows.len() as u32).to_le_bytes());
        for row in &entry.rows {
            let home = clusters.and_then(|clusters| clusters.home(*row));
            buffer.extend(home.unwrap_or(NOWHERE).to_le_bytes());
            put_numbers(buffer, matrix.vector(*row as usize));
        }
        Ok(())
    }
}
