//! The bytes, field by field, and what reading does with any others.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::record::parse_record;
use super::*;
use crate::codec;
use crate::position::Sequence;
use crate::record::{NewEvent, Origin};

fn append(payloads: &[&[u8]]) -> Append {
    let events = payloads.iter().zip(1..).map(|(payload, number)| NewEvent {
        id: Uuid::from_u128(0xA000 + number),
        event_type: "dispatch-recorded".into(),
        version: 3,
        codec: codec::BINCODE_2,
        payload: payload.to_vec(),
    });
    Append {
        stream: "dispatch/sffd".parse().expect("a stream"),
        expected: Sequence::new(40),
        expected_id: None,
        epoch: 7,
        origin: Origin {
            principal: Some("ops".into()),
            correlation_id: Some(Uuid::from_u128(0xC0)),
            causation_id: None,
        },
        events: events.collect(),
    }
}

fn encode(append: &Append, first: u64, before: Hash) -> (Vec<(BlockKey, Vec<u8>)>, Hash) {
    let mut encoder = GroupEncoder::new(Position::new(first), before);
    for (event, number) in append.events.iter().zip(1..) {
        encoder.push(append, event, append.expected.plus(number), 1_700_000_000_123_456);
    }
    let hash = encoder.hash();
    (encoder.finish(Vec::new(), BlockKey::new(0x0203)), hash)
}

/// Changing any of these bytes makes every journal in the field unreadable: then a new format version is due.
#[test]
fn the_bytes_of_a_block_are_what_the_document_says() {
    let (blocks, hash) = encode(&append(&[b"one", b""]), 1000, Hash([0x11; 32]));
    let [(key, bytes)] = blocks.as_slice() else { panic!("one block, not {}", blocks.len()) };
    assert_eq!(key.to_bytes(), [0, 0, 0, 0, 0, 0, 2, 3]);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN);
    assert_eq!(hash.to_string(), GOLDEN[2 * 68..2 * 100]);
}

#[rustfmt::skip] // one field a line
const GOLDEN: &str = concat!(
    "49564a42", // magic "IVJB"
    "01000000", // version 1, zeros
    "e803000000000000", // position 1000
    "0000", // part 0
    "0100", // of 1
    "02000000", // 2 records
    "e7000000", // body length
    "00000000", // block 0 of its group
    "01000000", // of 1
    "1111111111111111111111111111111111111111111111111111111111111111", // hash before
    "82df6df48538a7b834eed5c863e1e575c1824998294e6b52e2afe684dfc95a72", // hash after
    "12135773", // CRC-32 of the header
    "6d000000", // record length
    "ee5aab01", // CRC-32 of the record
    "e7010103", // magic E7, version 1, codec 1, flags
    "03000000", // event version 3, zeros
    "07000000", // epoch 7
    "e803000000000000", // position
    "2900000000000000", // sequence
    "40222018240a0600", // recorded at
    "0000000000000000000000000000a001", // event id
    "0d0064697370617463682f73666664", // stream "dispatch/sffd"
    "1164697370617463682d7265636f72646564", // type "dispatch-recorded"
    "03006f7073", // principal "ops"
    "000000000000000000000000000000c0", // correlation id
    "6f6e65", // payload "one"
    "6a000000", // record length
    "af319332", // CRC-32 of the record
    "e7010103", // magic E7, version 1, codec 1, flags
    "03000000", // event version 3, zeros
    "07000000", // epoch 7
    "e903000000000000", // position
    "2a00000000000000", // sequence
    "40222018240a0600", // recorded at
    "0000000000000000000000000000a002", // event id
    "0d0064697370617463682f73666664", // stream "dispatch/sffd"
    "1164697370617463682d7265636f72646564", // type "dispatch-recorded"
    "03006f7073", // principal "ops"
    "000000000000000000000000000000c0", // correlation id
);

#[test]
fn the_chain_can_be_followed_with_nothing_but_sha_256() {
    let (blocks, hash) = encode(&append(&[b"one", b"", b"three"]), 1, Hash::GENESIS);
    let mut body = &blocks[0].1[104..];
    let mut chain = [0u8; 32];
    while !body.is_empty() {
        let len = u32::from_le_bytes([body[0], body[1], body[2], body[3]]) as usize;
        chain = Sha256::new().chain_update(chain).chain_update(&body[8..8 + len]).finalize().into();
        body = &body[8 + len..];
    }
    assert_eq!(chain, hash.0);
}

#[test]
fn what_is_encoded_is_read_back_whatever_its_size() {
    let room = BODY_LEN_MAX - frame_len(&append(&[b""]), &append(&[b""]).events[0]);
    let large = vec![5; 3 * BLOCK_LEN_MAX];
    let sizes: [&[usize]; 6] =
        [&[0], &[room], &[room + 1], &[1, room, 1], &[large.len()], &[1, large.len(), 1, room / 2, room / 2, room]];
    for sizes in sizes {
        let payloads: Vec<&[u8]> = sizes.iter().map(|&size| &large[..size]).collect();
        let append = append(&payloads);
        let (blocks, hash) = encode(&append, 1, Hash::GENESIS);
        let mut seen = Vec::new();
        let mut body = Vec::new();
        for (index, (key, bytes)) in blocks.iter().enumerate() {
            assert_eq!(key.get(), 0x0203 + index as u64, "{sizes:?}");
            assert!(bytes.len() <= BLOCK_LEN_MAX, "{sizes:?}");
            let block = Block::parse(Position::FIRST, bytes).expect("its own bytes");
            assert_eq!(block.header.block_in_group as usize, index, "{sizes:?}");
            assert_eq!(block.header.ends_group(), index + 1 == blocks.len(), "{sizes:?}");
            body.extend_from_slice(&block.body);
            if block.header.part + 1 == block.header.parts {
                let frames = Frames::new(&body, block.header.position);
                seen.extend(frames.map(|frame| frame.expect("its own bytes").1.payload.to_vec()));
                body.clear();
            }
        }
        assert_eq!(seen, payloads, "{sizes:?}");
        assert_eq!(
            Block::parse(Position::FIRST, &blocks.last().expect("some").1).expect("its own").header.hash_after,
            hash
        );
    }
}

#[test]
fn a_body_is_compressed_when_that_makes_it_smaller_by_an_eighth() {
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(8_000)
    .collect();
    let mostly_noise = [&noise[..], &[0; 1_000]].concat();
    let cases: [(&[u8], bool); 5] =
        [(&noise, false), (&mostly_noise, false), (&[9; 8_000], true), (&[9; 500], false), (&[9; 50_000], true)];
    for (payload, is_compressed) in cases {
        let append = append(&[payload]);
        let (blocks, hash) = encode(&append, 1, Hash::GENESIS);
        let stored: usize = blocks.iter().map(|(_, bytes)| bytes.len()).sum();
        assert_eq!(stored < payload.len() / 2, is_compressed, "{} bytes as {stored}", payload.len());
        let mut body = Vec::new();
        for (_, bytes) in &blocks {
            body.extend_from_slice(&Block::parse(Position::FIRST, bytes).expect("its own bytes").body);
        }
        let (bytes, record) = Frames::new(&body, Position::FIRST).next().expect("one").expect("sound");
        assert_eq!(record.payload, payload);
        assert_eq!(Hash::GENESIS.then(bytes), hash, "the chain does not know how bodies are stored");
    }
}

/// Written by hand after the description of LZ4 blocks: whoever compresses later, this has to be read for ever.
#[test]
fn a_compressed_body_is_lz4_as_the_document_says() {
    // One literal, a match of 14 bytes one back, five literals.
    let body = [0x1A, b'a', 1, 0, 0x50, b'b', b'c', b'd', b'e', b'f'];
    let stored = |len: u32, body: &[u8]| [&len.to_le_bytes()[..], &crc32fast::hash(body).to_le_bytes(), body].concat();
    assert_eq!(decompressed(&stored(20, &body)).expect("sound"), b"aaaaaaaaaaaaaaabcdef");
    for len in [0, 19, 21, BODY_LEN_MAX as u32, BODY_LEN_MAX as u32 + 1, u32::MAX] {
        assert_eq!(decompressed(&stored(len, &body)), None, "{len}");
    }
    for cut in 0..body.len() {
        assert_eq!(decompressed(&stored(20, &body[..cut])), None, "cut to {cut}");
        assert_eq!(decompressed(&stored(20, &body)[..8 + cut]), None, "cut to {cut}, checksum of the whole");
    }
}

#[test]
fn whatever_the_bytes_are_reading_them_never_panics() {
    let (blocks, _) = encode(&append(&[b"one"]), 1, Hash::GENESIS);
    let record = &blocks[0].1[HEADER_LEN + FRAME_PREFIX_LEN..];
    assert!(parse_record(record).is_some());
    for len in 0..record.len() - b"one".len() {
        assert_eq!(parse_record(&record[..len]), None, "cut to {len}");
    }
    for at in 0..record.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = record.to_vec();
            changed[at] = value;
            let _ = parse_record(&changed);
        }
    }
}

#[test]
fn keys_sort_like_their_numbers() {
    let keys: Vec<BlockKey> = [0, 1, 2, 255, 256, 1 << 40, u64::MAX].map(BlockKey::new).into();
    assert!(keys.is_sorted_by(|a, b| a < b && a.to_bytes() < b.to_bytes()));
    for key in keys {
        assert_eq!(BlockKey::from_bytes(&key.to_bytes()), Some(key));
    }
    assert_eq!(BlockKey::from_bytes(&[0; 9]), None);
}
