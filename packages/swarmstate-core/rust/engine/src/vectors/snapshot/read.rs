//! Reads an index from a file.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use super::super::clusters::Clusters;
use super::super::metric::Metric;
use super::super::record::MAX_DIMENSIONS;
use super::super::state::{Parts, State};
use super::Position;
use super::segment::{
    DOUBTFUL, END, HEAD, Head, Input, Lineage, NOWHERE, RECORD, REMOVED, invalid,
};

/// The contents of a file.
pub(super) struct Loaded {
    pub state: State,
    pub lineage: Lineage,
    pub position: Position,
    pub bytes: u64,
}

/// Reads a file from its beginning to its last complete segment.
pub(super) fn load(path: &Path, namespace: &str, metric: Metric) -> io::Result<Loaded> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
    let size = reader.get_ref().metadata()?.len();
    let mut state = State::default();
    // Changes from here on are not in the file.
    let mut found: Option<(Lineage, Position)> = None;
    let mut end = 0;
    while let Some(head) = next_head(&mut reader, size - end)? {
        match &found {
            None if head.is_base => {}
            Some((lineage, _)) if !head.is_base && *lineage == head.lineage => {}
            _ => return Err(invalid("its segments do not belong together")),
        }
        let mut input = Input::new(reader, head.length);
        let position = read(&mut input, &mut state, metric)?;
        if position.namespace != namespace {
            return Err(invalid("it belongs to another namespace"));
        }
        reader = input.finish(head.check)?;
        found = Some((head.lineage, position));
        end += HEAD as u64 + head.length;
    }
    let (lineage, position) = found.ok_or_else(|| invalid("it has no complete segment"))?;
    state.unsaved = Some(HashSet::new());
    Ok(Loaded {
        state,
        lineage,
        position,
        bytes: size,
    })
}

/// Reads the next head; `None` at the end of the file or at an incomplete segment.
pub(super) fn next_head(reader: &mut impl Read, left: u64) -> io::Result<Option<Head>> {
    if left < HEAD as u64 {
        return Ok(None);
    }
    let mut bytes = [0; HEAD];
    reader.read_exact(&mut bytes)?;
    Ok(Head::decode(&bytes).filter(|head| head.length <= left - HEAD as u64))
}

/// Reads the position at the beginning of a segment.
pub(super) fn read_position<R: Read>(input: &mut Input<R>) -> io::Result<Position> {
    let namespace = input.text()?;
    let lanes = input.u32()?;
    let cursors = (0..lanes).map(|_| input.text()).collect::<Result<_, _>>()?;
    Ok(Position { namespace, cursors })
}

fn read<R: Read>(input: &mut Input<R>, state: &mut State, metric: Metric) -> io::Result<Position> {
    let position = read_position(input)?;
    let dimensions = input.u32()? as usize;
    if dimensions > MAX_DIMENSIONS {
        return Err(invalid("its vectors have too many dimensions"));
    }
    let generation = input.u64()?;
    let mut numbers = Vec::new();
    if let Some(clusters) = Clusters::read(input, generation, dimensions, metric)? {
        state.clusters = Some(clusters);
    }
    let knows_homes = state
        .clusters
        .as_ref()
        .is_some_and(|clusters| clusters.generation == generation);
    loop {
        match input.byte()? {
            END => return Ok(position),
            RECORD => {
                let id: Arc<str> = input.text()?.into();
                state.remove(&id);
                let scope = input.bytes()?.to_vec();
                let categories = input.bytes()?.to_vec();
                let value = input.bytes()?.into();
                let mut rows = Vec::new();
                for _ in 0..input.u32()? {
                    let home = input.u32()?;
                    input.numbers(dimensions, &mut numbers)?;
                    let home = (knows_homes && home != NOWHERE).then_some(home);
                    let row = state.put_vector(metric, &numbers, home);
                    rows.push(
                        row.ok_or_else(|| invalid("its vectors have mismatched dimensions"))?,
                    );
                }
                state.put_entry(Parts {
                    id: &id,
                    scope: &scope,
                    categories: &categories,
                    value,
                    rows,
                });
            }
            REMOVED => {
                let id = input.text()?;
                state.remove(&id);
            }
            DOUBTFUL => {
                let id = input.text()?;
                state.doubtful.insert(id.into());
            }
            _ => return Err(invalid("it has an entry of unknown kind")),
        }
    }
}
