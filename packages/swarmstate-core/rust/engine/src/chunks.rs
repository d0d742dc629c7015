//! Splits bytes into chunks at boundaries that depend on the content.
//!
//! A text that grows, or an object that changes somewhere, has no items that could stay the same.
//! Its bytes are cut by content (FastCDC; Xia et al., IEEE TPDS 2020, doi
//! 10.1109/TPDS.2020.2984632): a boundary depends on the bytes just before it. So boundaries after
//! a change stay where they were, and the chunks between them keep the same bytes.

use fastcdc::v2020::FastCDC;

/// The average chunk size is between these.
const SMALLEST_AVERAGE: usize = 1 << 10;
const LARGEST_AVERAGE: usize = 1 << 16;

/// Returns the chunks of `data`, in order.
///
/// A change rewrites one or two chunks, and each chunk costs a reference in every version. Chunks
/// that grow with the square root of the whole balance the two: they average about 2 KB in 64 KB of
/// data and 8 KB in 1 MB.
pub fn chunks(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let root = data.len().isqrt().max(1);
    // A power of two, because FastCDC rounds other sizes to one.
    let average = (1 << (8 * root).ilog2()).clamp(SMALLEST_AVERAGE, LARGEST_AVERAGE);
    let chunks = FastCDC::new(data, average / 4, average, average * 4);
    chunks.map(|chunk| &data[chunk.offset..chunk.offset + chunk.length])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Returns bytes that look random but are always the same.
    fn noise(len: usize) -> Vec<u8> {
        let next = |state: &mut u64| {
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            Some((*state >> 56) as u8)
        };
        (0..len).scan(7, |state, _| next(state)).collect()
    }

    #[test]
    fn chunks_are_the_bytes_in_their_order() {
        for len in [0, 1, 63, 64, 1_000, 5_000, 100_000, 3_000_000] {
            let data = noise(len);
            assert_eq!(chunks(&data).collect::<Vec<_>>().concat(), data);
            assert!(chunks(&data).all(|chunk| !chunk.is_empty()));
        }
    }

    #[test]
    fn a_change_leaves_the_chunks_before_and_behind_it() {
        let before = noise(200_000);
        let known: HashSet<&[u8]> = chunks(&before).collect();
        for at in [0, 77_777, 200_000] {
            let mut after = before.clone();
            after.splice(at..at, *b"some words more");
            let new: usize = chunks(&after)
                .filter(|chunk| !known.contains(chunk))
                .map(<[u8]>::len)
                .sum();
            assert!(new < 25_000, "{new} bytes are new");
        }
    }

    #[test]
    fn chunks_stay_few() {
        for len in [16_000, 64_000, 1_000_000, 16_000_000] {
            let count = chunks(&noise(len)).count();
            assert!(count * count < len, "{count} chunks of {len} bytes");
        }
    }

    #[test]
    fn bytes_that_are_all_the_same_are_cut() {
        assert!(chunks(&vec![0; 100_000]).count() > 5);
    }
}
