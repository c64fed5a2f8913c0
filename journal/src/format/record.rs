//! Records and the frames around them.

use uuid::Uuid;

use super::{
    FRAME_PREFIX_LEN, HAS_CAUSATION, HAS_CORRELATION, HAS_PRINCIPAL, RECORD_FIXED_LEN, RECORD_MAGIC, RECORD_VERSION,
};
use crate::error::Damage;
use crate::position::{Position, Sequence};
use crate::record::{Append, NewEvent, Record};

/// The frames of a body, one after the other.
pub(crate) struct Frames<'a> {
    rest: &'a [u8],
    position: Position,
    /// Frames of other streams are passed over, unchecked.
    only: Option<&'a str>,
    /// Whether the body is known to be as it was written, so that checksums of records say nothing new.
    is_vouched_for: bool,
}

impl<'a> Frames<'a> {
    /// The frames of a body that begins at `position`.
    pub(crate) fn new(body: &'a [u8], position: Position) -> Self {
        Frames { rest: body, position, only: None, is_vouched_for: false }
    }

    /// The frames of a body that had a checksum of its own, which fitted: those of its records are not looked at.
    pub(crate) fn vouched_for(body: &'a [u8], position: Position) -> Self {
        Frames { is_vouched_for: true, ..Frames::new(body, position) }
    }

    /// Those frames of a body that are of one stream. Whether one of them was missed for damage the caller sees by the
    /// sequences.
    pub(crate) fn of_stream(body: &'a [u8], position: Position, stream: &'a str) -> Self {
        Frames { only: Some(stream), ..Frames::new(body, position) }
    }

    /// Where the next frame belongs.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The next frame's record, unless it is passed over.
    fn take(&mut self) -> Result<Option<&'a [u8]>, Damage> {
        let position = self.position;
        let damage = |problem: &str| Damage { position, problem: problem.into() };
        let mut prefix = Reader { rest: self.rest };
        if prefix.rest.len() < FRAME_PREFIX_LEN {
            return Err(damage("the record is cut"));
        }
        let (len, checksum) = (prefix.u32() as usize, prefix.u32());
        let Some((record, rest)) = prefix.rest.split_at_checked(len) else {
            return Err(damage("the record is cut, or its length is damaged"));
        };
        self.rest = rest;
        self.position = self.position.plus(1);
        if self.only.is_some_and(|stream| !is_of_stream(record, stream)) {
            return Ok(None);
        }
        if !self.is_vouched_for && crc32fast::hash(record) != checksum {
            return Err(damage("the record's checksum does not fit"));
        }
        Ok(Some(record))
    }
}

/// Whether the bytes of a record have the stream's address where it belongs.
fn is_of_stream(record: &[u8], stream: &str) -> bool {
    let address = record.get(RECORD_FIXED_LEN..).and_then(|rest| rest.split_at_checked(2));
    address.is_some_and(|(len, rest)| len == (stream.len() as u16).to_le_bytes() && rest.starts_with(stream.as_bytes()))
}

impl<'a> Iterator for Frames<'a> {
    /// The record's bytes, as they enter the hash chain, and the record read from them.
    type Item = Result<(&'a [u8], Record<'a>), Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let position = self.position;
            let bytes = match self.take() {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                Err(damage) => {
                    // Where the next frame begins is not known any more.
                    self.rest = &[];
                    return Some(Err(damage));
                }
            };
            return Some(match parse_record(bytes) {
                Some(record) if record.position == position => Ok((bytes, record)),
                Some(record) => {
                    let problem = format!("the record stored here is that of position {}", record.position);
                    Err(Damage { position, problem })
                }
                None => Err(Damage { position, problem: "the record cannot be read".into() }),
            });
        }
        None
    }
}

/// The length of an event's frame.
pub(crate) fn frame_len(append: &Append, event: &NewEvent) -> usize {
    let origin = &append.origin;
    FRAME_PREFIX_LEN
        + RECORD_FIXED_LEN
        + (2 + append.stream.as_str().len())
        + (1 + event.event_type.len())
        + origin.principal.as_ref().map_or(0, |who| 2 + who.len())
        + origin.correlation_id.map_or(0, |_| 16)
        + origin.causation_id.map_or(0, |_| 16)
        + event.payload.len()
}

/// What the writer adds to an event.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) position: Position,
    pub(crate) sequence: Sequence,
    pub(crate) recorded_at_micros: i64,
}

/// Writes an event's frame and returns where in `out` its record begins.
pub(super) fn write_frame(out: &mut Vec<u8>, append: &Append, event: &NewEvent, place: Place) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_PREFIX_LEN]);
    let record_at = out.len();
    let origin = &append.origin;
    let flags = origin.principal.as_ref().map_or(0, |_| HAS_PRINCIPAL)
        | origin.correlation_id.map_or(0, |_| HAS_CORRELATION)
        | origin.causation_id.map_or(0, |_| HAS_CAUSATION);
    out.extend_from_slice(&[RECORD_MAGIC, RECORD_VERSION, event.codec, flags]);
    out.extend_from_slice(&event.version.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&append.epoch.to_le_bytes());
    out.extend_from_slice(&place.position.get().to_le_bytes());
    out.extend_from_slice(&place.sequence.get().to_le_bytes());
    out.extend_from_slice(&place.recorded_at_micros.to_le_bytes());
    out.extend_from_slice(event.id.as_bytes());
    assert_eq!(out.len() - record_at, RECORD_FIXED_LEN, "the fixed part of a record is as long as documented");
    let stream = append.stream.as_str();
    out.extend_from_slice(&(stream.len() as u16).to_le_bytes());
    out.extend_from_slice(stream.as_bytes());
    out.push(event.event_type.len() as u8);
    out.extend_from_slice(event.event_type.as_bytes());
    if let Some(principal) = &origin.principal {
        out.extend_from_slice(&(principal.len() as u16).to_le_bytes());
        out.extend_from_slice(principal.as_bytes());
    }
    for id in [origin.correlation_id, origin.causation_id].into_iter().flatten() {
        out.extend_from_slice(id.as_bytes());
    }
    out.extend_from_slice(&event.payload);
    let record_len = (out.len() - record_at) as u32;
    let checksum = crc32fast::hash(&out[record_at..]);
    out[start..start + 4].copy_from_slice(&record_len.to_le_bytes());
    out[start + 4..record_at].copy_from_slice(&checksum.to_le_bytes());
    record_at
}

/// Reads a record; `None` when the bytes are none, or are too few or too many.
pub(super) fn parse_record(bytes: &[u8]) -> Option<Record<'_>> {
    if bytes.len() < RECORD_FIXED_LEN {
        return None;
    }
    let mut fields = Reader { rest: bytes };
    let [magic, record_version, codec, flags] = fields.array();
    let version = fields.u16();
    let reserved = fields.u16();
    let epoch = fields.u32();
    let position = Position::new(fields.u64());
    let sequence = Sequence::new(fields.u64());
    let recorded_at_micros = fields.u64() as i64;
    let id = Uuid::from_bytes(fields.array());
    if (magic, record_version, reserved) != (RECORD_MAGIC, RECORD_VERSION, 0)
        || flags & !(HAS_PRINCIPAL | HAS_CORRELATION | HAS_CAUSATION) != 0
    {
        return None;
    }
    let stream_len = usize::from(fields.checked::<2>().map(u16::from_le_bytes)?);
    let stream = fields.text(stream_len)?;
    let type_len = usize::from(fields.checked::<1>()?[0]);
    let event_type = fields.text(type_len)?;
    let principal = if flags & HAS_PRINCIPAL != 0 {
        let len = usize::from(fields.checked::<2>().map(u16::from_le_bytes)?);
        Some(fields.text(len)?)
    } else {
        None
    };
    let mut optional_id = |flag| -> Option<Option<Uuid>> {
        if flags & flag == 0 { Some(None) } else { fields.checked().map(|bytes| Some(Uuid::from_bytes(bytes))) }
    };
    let correlation_id = optional_id(HAS_CORRELATION)?;
    let causation_id = optional_id(HAS_CAUSATION)?;
    Some(Record {
        position,
        stream,
        sequence,
        epoch,
        recorded_at_micros,
        id,
        event_type,
        version,
        codec,
        principal,
        correlation_id,
        causation_id,
        payload: fields.rest,
    })
}

/// Reads little-endian fields off the front. The plain readers panic at the end, the `checked` ones do not.
pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn checked<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> [u8; N] {
        self.checked().expect("the caller has checked that the fixed part is whole")
    }

    pub(super) fn text(&mut self, len: usize) -> Option<&'a str> {
        let (text, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        std::str::from_utf8(text).ok()
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }
}
