//! One message of ripgrep's `--json`, and the line that is in it.
//!
//! Belongs here: the fields that count, the text of a line cut for an answer. Banned here: what
//! messages mean one after the other (`matches`). Source: ripgrep's `grep_printer::JSON`.

use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::clip::{self, Clip};
use crate::directory;
use crate::elide::KEPT;
use crate::error::{Error, Result};

/// How much of a match's text tells that the file is read at the right place.
const PROOF: usize = 64;

#[derive(Deserialize)]
pub(crate) struct Message<'m> {
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    #[serde(borrow)]
    pub(crate) data: Data<'m>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Begin,
    Match,
    Context,
    End,
    Summary,
}

#[derive(Deserialize)]
pub(crate) struct Data<'m> {
    #[serde(borrow, default)]
    pub(crate) path: Option<Text<'m>>,
    #[serde(borrow, default)]
    pub(crate) lines: Option<Text<'m>>,
    #[serde(default)]
    pub(crate) line_number: Option<u64>,
    #[serde(default)]
    pub(crate) absolute_offset: Option<u64>,
    #[serde(borrow, default)]
    pub(crate) submatches: Vec<Submatch<'m>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Text<'m> {
    Text(#[serde(borrow)] Cow<'m, str>),
    Bytes(#[serde(borrow)] Cow<'m, str>),
}

#[derive(Deserialize)]
pub(crate) struct Submatch<'m> {
    #[serde(borrow, rename = "match")]
    pub(crate) text: Text<'m>,
    pub(crate) start: usize,
}

impl Text<'_> {
    pub(crate) fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        match self {
            Self::Text(text) => Ok(Cow::Borrowed(text.as_bytes())),
            Self::Bytes(encoded) => STANDARD
                .decode(encoded.as_bytes())
                .map(Cow::Owned)
                .map_err(|error| Error::Invalid(format!("no base64: {error}"))),
        }
    }
}

/// Whether the message may have held more of a line: an escape has up to six bytes.
fn is_cut(line: &[u8]) -> bool {
    line.len() >= KEPT / 6 && line.last() != Some(&b'\n')
}

impl Data<'_> {
    pub(crate) fn line(&self) -> Result<u64> {
        self.line_number
            .ok_or_else(|| Error::Invalid("a line without its number".to_owned()))
    }
}

/// The line, cut around the byte `at`.
pub(crate) fn clip_of(data: &Data<'_>, at: usize) -> Result<Clip> {
    let Some(lines) = &data.lines else {
        return Err(Error::Invalid("a line without its text".to_owned()));
    };
    let line = lines.bytes()?;
    let mut clip = clip::around(clip::without_end(&line), at);
    clip.is_cut |= is_cut(&line);
    Ok(clip)
}

/// The text around a match so far into its line that the message was cut before it: read from
/// the file, or where that does not have it there (it changed, it is no UTF-8), what matched.
pub(crate) fn far(
    root: Option<&OwnedFd>,
    path: &[u8],
    data: &Data<'_>,
    at: usize,
) -> Result<Option<Clip>> {
    let (Some(lines), Some(first)) = (&data.lines, data.submatches.first()) else {
        return Ok(None);
    };
    let line = lines.bytes()?;
    let length = line.len();
    if !is_cut(&line) || at + clip::REACH.1 <= length {
        return Ok(None);
    }
    let wanted = first.text.bytes()?;
    let place = data.absolute_offset.unwrap_or(0) + at as u64;
    let start = place
        .saturating_sub(clip::REACH.0 as u64)
        .max(data.absolute_offset.unwrap_or(0));
    let lead = usize::try_from(place - start).unwrap_or(0);
    let read = root.and_then(|root| read_at(root, path, start, lead + clip::REACH.1));
    let proof = &wanted[..wanted.len().min(PROOF)];
    let mut clip = match read {
        Some(bytes)
            if bytes
                .get(lead..)
                .is_some_and(|rest| rest.starts_with(proof)) =>
        {
            let end = memchr::memchr(b'\n', &bytes[lead..]).map_or(bytes.len(), |end| lead + end);
            clip::around(clip::without_end(&bytes[..end]), lead)
        }
        _ if at < length => return Ok(None),
        _ => clip::around(&wanted, 0),
    };
    clip.is_cut = true;
    Ok(Some(clip))
}

fn read_at(root: &OwnedFd, path: &[u8], at: u64, most: usize) -> Option<Vec<u8>> {
    let file = directory::open_file(root.as_fd(), path).ok()?;
    let mut bytes = vec![0; most];
    let count = rustix::io::pread(file, bytes.as_mut_slice(), at).ok()?;
    bytes.truncate(count);
    Some(bytes)
}
