//! A file as sled writes it, as far as that matters here: blocks with something between them.

use std::io::Write;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::chain::Hash;
use crate::codec;
use crate::format::GroupEncoder;
use crate::position::Sequence;
use crate::record::{Append, NewEvent, Origin};

pub(crate) type Blocks = Vec<(BlockKey, Vec<u8>)>;

/// Added to a length: bytes that cannot be compressed.
pub(crate) const RANDOM: usize = 1 << 40;

/// A history of groups of events with payloads of that many bytes, the same for the same `salt`.
pub(crate) fn history(groups: &[&[usize]], salt: u64) -> Blocks {
    let (mut blocks, mut sequence) = (Blocks::new(), Sequence::NONE);
    let (mut next, mut hash) = (Position::FIRST, Hash::GENESIS);
    for group in groups {
        let mut encoder = GroupEncoder::new(next, hash);
        for &len in *group {
            sequence = sequence.plus(1);
            let seed = sequence.get() + salt;
            let byte = |at: u64| {
                let mixed = (at + seed * 1_000_003).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56) as u8
            };
            let repeated = |at: u64| byte(at % 64);
            let payload = match len.checked_sub(RANDOM) {
                Some(len) => (0..len as u64).map(byte).collect(),
                None => (0..len as u64).map(repeated).collect(),
            };
            let (id, codec) = (Uuid::from_u128((salt + sequence.get()).into()), codec::BINCODE_2);
            let event = NewEvent { id, event_type: "made".into(), version: 1, codec, payload };
            let append = Append {
                stream: "dispatch/a".parse().expect("a stream"),
                expected: sequence,
                expected_id: None,
                epoch: 1,
                origin: Origin::default(),
                events: Vec::new(),
            };
            encoder.push(&append, &event, sequence, 0);
        }
        (next, hash) = (encoder.next_position(), encoder.hash());
        blocks.extend(encoder.finish(Vec::new(), BlockKey::FIRST.plus(blocks.len() as u64)));
    }
    blocks
}

struct OnDisk {
    file: tempfile::NamedTempFile,
    extents: Extents,
}

impl OnDisk {
    fn holding(pieces: &[&[u8]]) -> Self {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let extents = Extents::new(file.reopen().expect("opened"));
        let mut on_disk = OnDisk { file, extents };
        on_disk.add(pieces);
        on_disk
    }

    /// Writes pieces behind what is there, each behind some bytes of sled's.
    fn add(&mut self, pieces: &[&[u8]]) {
        for (piece, number) in pieces.iter().zip(1_usize..) {
            self.file.write_all(&vec![0xFF; 20 + number * 700 % 3_000]).expect("written");
            self.file.write_all(piece).expect("written");
        }
    }

    fn learn(&self, blocks: &Blocks) {
        let (anchor, bytes) = blocks.last().expect("there is one");
        self.extents.learn(*anchor, |key| (key == *anchor).then_some(bytes)).expect("readable");
    }

    /// As [`OnDisk::learn`], with a sled that has all blocks.
    fn learn_with_sled(&self, blocks: &Blocks) {
        let bytes_of = |key: BlockKey| blocks.get(key.get() as usize - 1).map(|(_, bytes)| bytes);
        self.extents.learn(blocks.last().expect("there is one").0, bytes_of).expect("readable");
    }

    /// Which of the blocks are read, all of them rightly, and in order as well as one by one.
    fn known(&self, blocks: &Blocks) -> Vec<u64> {
        let mut window = self.extents.window();
        let known = blocks.iter().filter(|(key, bytes)| {
            let read = self.extents.read(*key);
            assert_eq!(read.as_deref(), window.read(*key), "{key:?}");
            assert!(read.as_ref().is_none_or(|read| read == bytes), "{key:?} is another block");
            read.is_some()
        });
        known.map(|(key, _)| key.get()).collect()
    }
}

fn pieces(blocks: &Blocks) -> Vec<&[u8]> {
    blocks.iter().map(|(_, bytes)| &bytes[..]).collect()
}

#[test]
fn blocks_are_found_whatever_is_between_them_and_in_whatever_order() {
    let blocks = history(&[&[9_000, 9_000], &[10], &[3_000; 20]], 0);
    assert!(blocks.len() > 5, "a few");
    let all: Vec<u64> = (1..=blocks.len() as u64).collect();
    let mut on_disk = OnDisk::holding(&pieces(&blocks));
    on_disk.learn(&blocks);
    assert_eq!(on_disk.known(&blocks), all);
    on_disk.add(&pieces(&blocks));
    on_disk.learn(&blocks);
    assert_eq!(on_disk.known(&blocks), all, "copies that are the same do no harm");
    let backwards: Vec<&[u8]> = pieces(&blocks).into_iter().rev().collect();
    let on_disk = OnDisk::holding(&backwards);
    on_disk.learn(&blocks);
    assert_eq!(on_disk.known(&blocks), all);
}

#[test]
fn of_a_record_in_parts_those_are_known_that_have_a_checksum() {
    let blocks = history(&[&[10], &[50_000], &[10]], 0);
    let on_disk = OnDisk::holding(&pieces(&blocks));
    on_disk.learn(&blocks);
    assert!(blocks.len() > 5, "the large one has several parts");
    assert_eq!(on_disk.known(&blocks), (1..=blocks.len() as u64).collect::<Vec<_>>(), "compressed parts have one");
    // A part of random bytes is stored as it is.
    let blocks = history(&[&[10], &[RANDOM + 50_000], &[10]], 0);
    let on_disk = OnDisk::holding(&pieces(&blocks));
    on_disk.learn(&blocks);
    assert_eq!(on_disk.known(&blocks), [1, blocks.len() as u64]);
}

#[test]
fn blocks_that_came_later_are_found_behind_the_ones_before() {
    let blocks = history(&[&[5_000; 10], &[5_000; 10]], 0);
    let (first, rest) = blocks.split_at(blocks.len() / 2);
    let first = first.to_vec();
    let mut on_disk = OnDisk::holding(&pieces(&first));
    on_disk.learn(&first);
    assert_eq!(on_disk.known(&blocks).len(), first.len());
    assert_eq!(on_disk.extents.known_to().get(), first.len() as u64);
    on_disk.add(&pieces(&rest.to_vec()));
    on_disk.learn(&blocks);
    assert_eq!(on_disk.known(&blocks).len(), blocks.len());
    on_disk.extents.forget_from(BlockKey::new(3));
    assert_eq!(on_disk.known(&blocks), [1, 2], "and none that is no more");
}

#[test]
fn of_two_histories_the_one_that_ends_in_the_last_block_is_found() {
    let (blocks, other) = (history(&[&[8_000], &[9_000], &[7_000]], 0), history(&[&[8_000], &[9_000], &[7_000]], 1));
    let mixed: Vec<&[u8]> = pieces(&other).into_iter().zip(pieces(&blocks)).flat_map(|(a, b)| [a, b]).collect();
    let on_disk = OnDisk::holding(&mixed);
    on_disk.learn(&blocks);
    assert_eq!(on_disk.known(&blocks), [1, 2, 3]);
    let on_disk = OnDisk::holding(&mixed);
    on_disk.learn(&other);
    assert_eq!(on_disk.known(&other), [1, 2, 3]);
}

#[test]
fn a_block_that_is_not_there_is_not_known_and_those_before_it_are_not_either() {
    let blocks = history(&[&[8_000], &[9_000], &[7_000], &[10]], 0);
    let mut there = pieces(&blocks);
    there.remove(1);
    let on_disk = OnDisk::holding(&there);
    on_disk.learn(&blocks);
    assert_eq!(on_disk.known(&blocks), [3, 4], "what came before the second one nobody can say");
    let on_disk = OnDisk::holding(&pieces(&blocks)[..3]);
    on_disk.learn(&blocks);
    assert_eq!(on_disk.known(&blocks), [1, 2, 3], "the last one is known by what sled says");
}

#[test]
fn where_the_chain_leads_nowhere_sled_is_asked_and_it_goes_on() {
    let blocks = history(&[&[8_000], &[9_000], &[7_000], &[RANDOM + 40_000], &[10]], 0);
    assert_eq!(blocks.len(), 7);
    for (missing, known) in [(0, &[2, 3, 7][..]), (1, &[1, 3, 7]), (4, &[1, 2, 3, 7]), (6, &[1, 2, 3])] {
        let mut there = pieces(&blocks);
        there.remove(missing);
        let on_disk = OnDisk::holding(&there);
        on_disk.learn_with_sled(&blocks);
        assert_eq!(on_disk.known(&blocks), known, "without number {}", missing + 1);
    }
}

/// The block with other fields in its header, the checksum of which fits.
fn forged(block: &[u8], change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut forged = block.to_vec();
    change(&mut forged[..HEADER_LEN - 4]);
    let checksum = crc32fast::hash(&forged[..HEADER_LEN - 4]);
    forged[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&checksum.to_le_bytes());
    forged
}

/// What is stored in a snapshot somebody may have chosen.
#[test]
fn a_block_that_fits_into_the_chain_and_is_none_of_it_is_never_taken_for_one() {
    let blocks = history(&[&[8_000], &[9_000], &[7_000]], 0);
    let other = history(&[&[8_000], &[RANDOM + 300], &[7_000]], 0);
    let in_its_place = forged(&other[1].1, |header| header[36..100].copy_from_slice(&blocks[1].1[36..100]));
    let of_another_group = forged(&blocks[1].1, |header| header[32] = 2);
    let from_nowhere = forged(&blocks[1].1, |header| header[36..68].fill(7));
    for forged in [in_its_place, of_another_group, from_nowhere] {
        for at in 0..=3 {
            let mut there = pieces(&blocks);
            there.insert(at, &forged);
            let on_disk = OnDisk::holding(&there);
            on_disk.learn(&blocks);
            assert_eq!(on_disk.known(&blocks), [3], "nobody says which one it is");
            let on_disk = OnDisk::holding(&there);
            on_disk.learn_with_sled(&blocks);
            assert_eq!(on_disk.known(&blocks), [1, 2, 3], "sled says it");
        }
    }
}

/// A header that claims the bytes behind it takes the block there out of sight.
#[test]
fn a_header_that_claims_a_block_hides_that_one_only() {
    let blocks = history(&[&[8_000], &[9_000], &[7_000]], 0);
    let len = blocks[1].1.len() as u32;
    let claiming = forged(&blocks[0].1[..HEADER_LEN], |header| header[24..28].copy_from_slice(&len.to_le_bytes()));
    let hidden = [claiming, blocks[1].1.clone()].concat();
    let on_disk = OnDisk::holding(&[&blocks[0].1, &hidden, &blocks[2].1]);
    on_disk.learn_with_sled(&blocks);
    assert_eq!(on_disk.known(&blocks), [1, 3]);
}

/// Somebody could put a block with another body and the same header somewhere into the file.
#[test]
fn of_two_blocks_with_one_header_and_two_bodies_neither_is_known() {
    let blocks = history(&[&[8_000], &[9_000], &[7_000]], 0);
    let mut forged = blocks[1].1.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    for there in [[&blocks[1].1, &forged], [&forged, &blocks[1].1]] {
        let on_disk = OnDisk::holding(&[&blocks[0].1, there[0], there[1], &blocks[2].1]);
        on_disk.learn(&blocks);
        assert_eq!(on_disk.known(&blocks), [1, 3]);
    }
}

#[test]
fn what_is_written_over_is_not_known_any_more_byte_by_byte() {
    let blocks = history(&[&[30], &[40, 50], &[60]], 0);
    let on_disk = OnDisk::holding(&pieces(&blocks));
    on_disk.learn(&blocks);
    let place = on_disk.extents.place(BlockKey::new(2)).expect("known");
    let file = on_disk.file.as_file();
    for at in 0..u64::from(place.len) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, place.offset + at).expect("readable");
        file.write_all_at(&[byte[0] ^ 0x10], place.offset + at).expect("written");
        assert_eq!(on_disk.known(&blocks), [1, 3], "byte {at}");
        file.write_all_at(&byte, place.offset + at).expect("written");
    }
    file.set_len(place.offset + 10).expect("cut");
    assert_eq!(on_disk.known(&blocks), [1]);
}

#[test]
fn a_file_that_is_shorter_than_it_was_is_looked_through_to_its_end() {
    let blocks = history(&[&[8_000], &[9_000]], 0);
    for len in 0..5 {
        let on_disk = OnDisk::holding(&pieces(&blocks));
        let end = on_disk.file.as_file().metadata().expect("there").len();
        let claimed = 0..end + 100_000;
        assert_eq!(find(on_disk.file.as_file(), claimed.clone()).expect("readable").len(), 2);
        on_disk.file.as_file().set_len(len).expect("cut");
        assert_eq!(find(on_disk.file.as_file(), claimed).expect("readable").len(), 0);
    }
}

#[test]
fn what_cannot_be_read_is_not_looked_through_again() {
    let dir = tempfile::tempdir().expect("a directory");
    // A directory can be opened, and has a length, but not read.
    let extents = Extents::new(File::open(dir.path()).expect("opened"));
    let blocks = history(&[&[10], &[10]], 0);
    extents.learn(BlockKey::new(2), |_| Some(&blocks[1].1)).expect_err("it is no file");
    assert_eq!(extents.known_to(), BlockKey::new(2));
    assert!(extents.read(BlockKey::new(1)).is_none());
}

#[test]
fn when_many_blocks_were_moved_the_whole_file_is_looked_through_again() {
    let blocks = history(&[&[8_000], &[9_000], &[7_000]], 0);
    let last = BlockKey::new(3);
    let mut on_disk = OnDisk::holding(&pieces(&blocks));
    assert!(on_disk.extents.is_due(last));
    on_disk.learn(&blocks);
    assert!(!on_disk.extents.is_due(last), "it is done");
    let end = on_disk.file.as_file().metadata().expect("there").len();
    on_disk.file.as_file().write_all_at(&vec![0; end as usize], 0).expect("written over");
    on_disk.add(&pieces(&blocks));
    assert_eq!(on_disk.known(&blocks), []);
    assert!(!on_disk.extents.is_due(last), "a few vain reads are borne");
    let mut rounds = 0;
    while !on_disk.extents.is_due(last) {
        assert_eq!(on_disk.known(&blocks), []);
        rounds += 1;
    }
    assert!((20..100).contains(&rounds), "{rounds}");
    on_disk.learn(&blocks);
    assert_eq!(on_disk.known(&blocks), [1, 2, 3]);
    assert!(!on_disk.extents.is_due(last));
}

/// Pieces of a file that somebody made up to take us in.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let block = history(&[&[600]], 0).remove(0).1;
    let header = (any::<[u8; 12]>(), 0..20_000_u32, any::<bool>()).prop_map(move |(numbers, len, has_body)| {
        let bytes = forged(&block, |header| {
            header[16..24].copy_from_slice(&numbers[..8]);
            header[24..28].copy_from_slice(&len.to_le_bytes());
            header[8..12].copy_from_slice(&numbers[8..]);
        });
        if has_body { bytes } else { bytes[..HEADER_LEN].to_vec() }
    });
    prop_oneof![
        (1..3_000_usize).prop_map(|count| BLOCK_MAGIC.repeat(count)),
        (0..70_000_usize).prop_map(|len| vec![b'I'; len]),
        proptest::collection::vec(any::<u8>(), 0..200),
        header,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_a_file_holds_the_same_blocks_are_found_however_it_is_read(
        pieces in proptest::collection::vec(hostile(), 0..12)
    ) {
        let bytes = pieces.concat();
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&bytes).expect("written");
        let mut found = find(&file, 0..bytes.len() as u64).expect("readable");
        // Wherever a chain leads, it ends.
        for block in &found {
            prop_assert!(before(block, &found).is_none_or(|other| block.is_behind(&other)));
        }
        found.sort_by_key(|block| block.place.offset);
        let mut expected = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let block = Found::at(at as u64, &bytes[at..]);
            at += block.map_or(1, |block| block.place.len as usize);
            expected.extend(block.map(|block| block.place));
        }
        prop_assert_eq!(found.iter().map(|block| block.place).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_block_is_found_wherever_what_is_looked_at_at_a_time_ends() {
    let block = history(&[&[10]], 0).remove(0).1;
    for piece_len in [PIECE_LEN_MIN, 3 * PIECE_LEN_MIN] {
        for before in piece_len - HEADER_LEN - 10..piece_len + 10 {
            let mut file = tempfile::tempfile().expect("a file");
            file.write_all(&[vec![0; before], block.clone()].concat()).expect("written");
            let found = find(&file, 0..(before + block.len()) as u64).expect("readable");
            assert_eq!(found.iter().map(|block| block.place.offset).collect::<Vec<_>>(), [before as u64]);
        }
    }
}
