//! What ripgrep prints with `--json`, reshaped into our answers.
//!
//! Belongs here: the messages, lines of context, the cap, the two forms of an answer. In Python
//! one message costs 1.5 microseconds, which triples the time of a common word. Banned here:
//! running ripgrep; the fields around the results.
//!
//! Several processes may search at once, each with a [`Reader`] of its own; their matches meet in
//! one [`Matches`]. Source: wire contract, section 3; ripgrep's `grep_printer::JSON`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clip::Clip;
use crate::elide::Elider;
use crate::entry::append_number;
use crate::error::{Error, Result};
use crate::glance::{self, Glance};
use crate::json;
use crate::message::{Data, Kind, Message, clip_of, far};
use crate::pool::lock;

/// The flat list is sent for no more matches than these.
const FLAT: u64 = 1000;
/// What a match costs beyond its own bytes.
const EACH: usize = 96;
/// What an answer looks like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    /// A line of JSON a match, in the order found; else one object, sorted.
    pub is_stream: bool,
    /// How many matches at most.
    pub max_results: Option<u64>,
    /// Lines of context before and after.
    pub context: u64,
    /// Bytes of an answer that is one object.
    pub most_bytes: usize,
}

/// The matches of one search.
#[derive(Debug, Default)]
pub struct Matches {
    shape: Shape,
    /// Finished lines that nobody has taken.
    lines: Vec<u8>,
    /// By the path as it is sent, so that keys are sorted as they are read.
    files: BTreeMap<Vec<u8>, Vec<Found>>,
    held: usize,
    total: u64,
    file_count: u64,
    capped: Option<&'static str>,
}

/// A match of the one object.
#[derive(Debug)]
struct Found {
    /// The fields of its object.
    fields: Vec<u8>,
    line: u64,
    /// Where in `fields` the text stands, without its quotes.
    text: (usize, usize),
    /// The path where it is not UTF-8.
    path_b64: Option<Box<str>>,
}

/// Reads what one process prints.
#[derive(Debug, Default)]
pub struct Reader {
    elider: Elider,
    file: Option<File>,
    context: u64,
    /// The searched directory, to read again what a message was too long for.
    root: Option<OwnedFd>,
    is_complete: bool,
    delivered: Delivered,
}

/// The last line that was handed over of each file, [`u64::MAX`] of those that are over: what a
/// process must not tell again that searches in place of one that died.
type Delivered = Arc<Mutex<HashMap<Vec<u8>, u64>>>;

/// The file whose matches come.
#[derive(Debug)]
struct File {
    path: Vec<u8>,
    /// What each of its lines in a stream begins with.
    opening: Vec<u8>,
    /// The path where it is not UTF-8.
    path_b64: Option<Box<str>>,
    is_counted: bool,
    /// Of the matches that were handed over.
    last_line: u64,
    /// Up to here an earlier process handed them over.
    told_line: u64,
    recent: VecDeque<(u64, Clip)>,
    waiting: VecDeque<Waiting>,
}

/// A match whose context is not complete.
#[derive(Debug)]
struct Waiting {
    found: Found,
    after: Vec<Clip>,
    is_cut: bool,
}

impl Matches {
    /// No matches yet.
    pub fn new(shape: Shape) -> Self {
        Self {
            shape,
            ..Self::default()
        }
    }

    /// A reader for one process that searches in `root`.
    pub fn reader(&self, root: Option<OwnedFd>) -> Reader {
        Reader {
            context: self.shape.context,
            root,
            ..Reader::default()
        }
    }

    /// A reader for one that searches again, or in part, where the process of `other` died: what
    /// that one had told is told once.
    pub fn reader_after(&self, other: &Reader) -> Reader {
        if let Some(file) = &other.file {
            let last = file.last_line.max(file.told_line);
            lock(&other.delivered).insert(file.path.clone(), last);
        }
        let root = other.root.as_ref();
        Reader {
            delivered: Arc::clone(&other.delivered),
            ..self.reader(root.and_then(|root| root.try_clone().ok()))
        }
    }

    /// Whether there are more matches than the answer may hold: nothing more need be read.
    pub fn is_capped(&self) -> bool {
        self.capped.is_some()
    }

    /// Why the answer is capped: `max_results` or `size`.
    pub fn capped_by(&self) -> Option<&'static str> {
        self.capped
    }

    /// How many lines match, and in how many files.
    pub fn counts(&self) -> (u64, u64) {
        (self.total, self.file_count)
    }

    /// The finished lines of a stream.
    pub fn take_lines(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.lines)
    }

    fn add(&mut self, file: &mut File, found: Found) {
        if !self.admits(file, found.line) {
            return;
        }
        if self.shape.is_stream {
            self.lines.extend_from_slice(&file.opening);
            self.lines.extend_from_slice(&found.fields);
            file.close(&mut self.lines);
        } else if !self.hold(&file.path, found) {
            self.capped = Some("size");
            return;
        }
        self.count(file);
    }

    /// As [`Matches::add`], of a match without context.
    fn add_glance(&mut self, file: &mut File, glance: &Glance<'_>) {
        let text = Shown {
            escaped: glance.text,
            is_cut: false,
            is_lossy: false,
        };
        if !self.shape.is_stream {
            let found = Found::new(file, glance.line, glance.at + 1, &text);
            self.add(file, found);
        } else if self.admits(file, glance.line) {
            self.lines.extend_from_slice(&file.opening);
            append_fields(&mut self.lines, glance.line, glance.at + 1, &text);
            file.close(&mut self.lines);
            self.count(file);
        }
    }

    fn admits(&mut self, file: &mut File, line: u64) -> bool {
        if self.capped.is_some() || line <= file.told_line {
            return false;
        }
        if self
            .shape
            .max_results
            .is_some_and(|most| self.total >= most)
        {
            self.capped = Some("max_results");
            return false;
        }
        file.last_line = line;
        true
    }

    fn count(&mut self, file: &mut File) {
        self.total += 1;
        self.file_count += u64::from(!std::mem::replace(&mut file.is_counted, true));
    }

    fn hold(&mut self, path: &[u8], found: Found) -> bool {
        let key = String::from_utf8_lossy(path);
        let cost = found.fields.len() + EACH;
        let cost = cost
            + if self.files.contains_key(key.as_bytes()) {
                0
            } else {
                key.len() + EACH
            };
        if self.held + cost > self.shape.most_bytes {
            return false;
        }
        self.held += cost;
        self.files
            .entry(key.into_owned().into_bytes())
            .or_default()
            .push(found);
        true
    }

    /// Appends `"results":{...}` with its files in order, and `,"matches":[...]` where there are
    /// few enough, and hands each piece of about `most` bytes to `take`.
    pub fn finish(&mut self, most: usize, mut take: impl FnMut(Vec<u8>)) {
        let mut files = std::mem::take(&mut self.files);
        let mut flat = Vec::new();
        if self.total <= FLAT {
            append_flat(&mut flat, &files);
        }
        let mut out = b"\"results\":{".to_vec();
        let mut is_first = true;
        // What is written is freed: the answer is never held twice.
        while let Some((path, founds)) = files.pop_first() {
            out.extend_from_slice(if is_first { b"\"" } else { b",\"" });
            is_first = false;
            json::escape(&mut out, &path);
            out.extend_from_slice(b"\":[");
            for (at, found) in founds.into_iter().enumerate() {
                out.extend_from_slice(if at == 0 { b"{" } else { b",{" });
                found.append(&mut out);
                out.push(b'}');
                if out.len() >= most {
                    take(std::mem::take(&mut out));
                }
            }
            out.push(b']');
        }
        out.push(b'}');
        out.append(&mut flat);
        take(out);
    }
}

fn append_flat(out: &mut Vec<u8>, files: &BTreeMap<Vec<u8>, Vec<Found>>) {
    out.extend_from_slice(b",\"matches\":[");
    let every = files
        .iter()
        .flat_map(|(path, founds)| founds.iter().map(move |one| (path, one)));
    for (at, (path, found)) in every.enumerate() {
        out.extend_from_slice(if at == 0 { b"{" } else { b",{" });
        out.extend_from_slice(b"\"path\":\"");
        json::escape(out, path);
        out.extend_from_slice(b"\",\"line_number\":");
        append_number(out, found.line);
        out.extend_from_slice(b",\"text\":\"");
        out.extend_from_slice(&found.fields[found.text.0..found.text.1]);
        out.push(b'"');
        append_b64(out, found.path_b64.as_deref());
        out.push(b'}');
    }
    out.push(b']');
}

/// The text of a line as it is sent.
struct Shown<'c> {
    escaped: &'c [u8],
    is_cut: bool,
    is_lossy: bool,
}

/// Appends the fields of a match, and says where its text stands.
fn append_fields(out: &mut Vec<u8>, line: u64, column: u64, text: &Shown<'_>) -> (usize, usize) {
    out.extend_from_slice(b"\"line\":");
    append_number(out, line);
    out.extend_from_slice(b",\"column\":");
    append_number(out, column);
    out.extend_from_slice(b",\"text\":\"");
    let start = out.len();
    out.extend_from_slice(text.escaped);
    let place = (start, out.len());
    out.push(b'"');
    if text.is_cut {
        out.extend_from_slice(b",\"text_truncated\":true");
    }
    if text.is_lossy {
        out.extend_from_slice(b",\"lossy\":true");
    }
    place
}

fn append_b64(out: &mut Vec<u8>, path_b64: Option<&str>) {
    if let Some(encoded) = path_b64 {
        out.extend_from_slice(b",\"path_b64\":\"");
        out.extend_from_slice(encoded.as_bytes());
        out.push(b'"');
    }
}

impl Found {
    fn new(file: &File, line: u64, column: u64, shown: &Shown<'_>) -> Self {
        let mut fields = Vec::with_capacity(shown.escaped.len() + 64);
        let text = append_fields(&mut fields, line, column, shown);
        Self {
            fields,
            line,
            text,
            path_b64: file.path_b64.clone(),
        }
    }

    fn append(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.fields);
        append_b64(out, self.path_b64.as_deref());
    }

    /// Appends `,"key":[lines]`; whether one of them is cut.
    fn append_context<'l>(&mut self, key: &str, lines: impl Iterator<Item = &'l Clip>) -> bool {
        let out = &mut self.fields;
        let mut is_cut = false;
        out.extend_from_slice(b",\"");
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":[");
        for (at, line) in lines.enumerate() {
            out.extend_from_slice(if at == 0 { b"\"" } else { b",\"" });
            out.extend_from_slice(&line.escaped);
            out.push(b'"');
            is_cut |= line.is_cut;
        }
        out.push(b']');
        is_cut
    }
}

impl Reader {
    /// Takes what the process printed next.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is no message of ripgrep's.
    pub fn feed(&mut self, piece: &[u8], matches: &mut Matches) -> Result<()> {
        let mut elider = std::mem::take(&mut self.elider);
        let fed = elider.feed(piece, |message| {
            if matches.is_capped() {
                return Ok(());
            }
            self.message(message, matches)
        });
        self.elider = elider;
        fed
    }

    /// Whether the process said that it was done, and nothing else is half said.
    pub fn is_complete(&self) -> bool {
        self.is_complete && !self.elider.is_midway() && self.file.is_none()
    }

    fn message(&mut self, bytes: &[u8], matches: &mut Matches) -> Result<()> {
        if let (0, Some(file)) = (self.context, &mut self.file)
            && let Some(glance) = glance::read(bytes)
        {
            matches.add_glance(file, &glance);
            return Ok(());
        }
        let Message { kind, data } = serde_json::from_slice(bytes).map_err(|error| {
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
            Error::Invalid(format!("{error}: {start}"))
        })?;
        match kind {
            Kind::Begin => {
                let mut file = File::new(&data)?;
                file.told_line = lock(&self.delivered).get(&file.path).copied().unwrap_or(0);
                file.is_counted = file.told_line > 0;
                self.file = Some(file);
            }
            Kind::Match => self.matched(&data, matches)?,
            Kind::Context => {
                if let Some(file) = &mut self.file {
                    let (line, clip) = (data.line()?, clip_of(&data, 0)?);
                    file.line(line, clip, self.context, matches);
                }
            }
            Kind::End => {
                if let Some(mut file) = self.file.take() {
                    file.settle(matches, |_| true);
                    if file.is_counted {
                        lock(&self.delivered).insert(file.path, u64::MAX);
                    }
                }
            }
            Kind::Summary => self.is_complete = true,
        }
        Ok(())
    }

    fn matched(&mut self, data: &Data<'_>, matches: &mut Matches) -> Result<()> {
        let line = data.line()?;
        let at = data.submatches.first().map_or(0, |one| one.start);
        let Some(file) = &mut self.file else {
            return Err(Error::Invalid("a match before its file".to_owned()));
        };
        let clip = match far(self.root.as_ref(), &file.path, data, at)? {
            Some(clip) => clip,
            None => clip_of(data, at)?,
        };
        let shown = Shown {
            escaped: &clip.escaped,
            is_cut: clip.is_cut,
            is_lossy: clip.is_lossy,
        };
        let mut found = Found::new(file, line, at as u64 + 1, &shown);
        if self.context == 0 {
            matches.add(file, found);
            return Ok(());
        }
        let first = line.saturating_sub(self.context);
        let before = file.recent.iter().filter(|(number, _)| *number >= first);
        let before = before.map(|(_, text)| text);
        let is_cut = found.append_context("before", before);
        file.line(line, clip, self.context, matches);
        file.waiting.push_back(Waiting {
            found,
            after: Vec::new(),
            is_cut,
        });
        Ok(())
    }
}

impl File {
    fn new(data: &Data<'_>) -> Result<Self> {
        let Some(path) = &data.path else {
            return Err(Error::Invalid("a file without its path".to_owned()));
        };
        let bytes = path.bytes()?;
        let path = bytes.strip_prefix(b"./").unwrap_or(&bytes).to_vec();
        let mut opening = b"{\"path\":\"".to_vec();
        let is_text = !json::escape_lossy(&mut opening, &path);
        opening.extend_from_slice(b"\",");
        Ok(Self {
            path_b64: (!is_text).then(|| URL_SAFE_NO_PAD.encode(&path).into()),
            opening,
            path,
            is_counted: false,
            last_line: 0,
            told_line: 0,
            recent: VecDeque::new(),
            waiting: VecDeque::new(),
        })
    }

    /// Ends a line of a stream.
    fn close(&self, out: &mut Vec<u8>) {
        append_b64(out, self.path_b64.as_deref());
        out.extend_from_slice(b"}\n");
    }

    /// A line in whose context matches may be, and which may be in the context of others.
    fn line(&mut self, number: u64, text: Clip, context: u64, matches: &mut Matches) {
        for one in &mut self.waiting {
            if number - one.found.line.min(number) <= context {
                one.after.push(text.clone());
            }
        }
        self.settle(matches, |one| one.found.line + context <= number);
        self.recent.push_back((number, text));
        if self.recent.len() as u64 > context {
            self.recent.pop_front();
        }
    }

    /// Hands over the matches whose context is complete.
    fn settle(&mut self, matches: &mut Matches, is_over: impl Fn(&Waiting) -> bool) {
        while self.waiting.front().is_some_and(&is_over) {
            let Some(mut one) = self.waiting.pop_front() else {
                return;
            };
            let found = &mut one.found;
            if found.append_context("after", one.after.iter()) || one.is_cut {
                found
                    .fields
                    .extend_from_slice(b",\"context_truncated\":true");
            }
            matches.add(self, one.found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn text(text: &str) -> Value {
        json!({ "text": text })
    }

    fn line(kind: &str, number: u64, content: Value, starts: &[usize]) -> Value {
        let sub = |at: &usize| json!({"match": text("m"), "start": at, "end": at + 1});
        let subs: Vec<Value> = starts.iter().map(sub).collect();
        json!({"type": kind, "data": {"path": text("./a"), "lines": content,
            "line_number": number, "absolute_offset": 0, "submatches": subs}})
    }

    fn told(path: Value, lines: &[Value]) -> Vec<u8> {
        let mut out = Vec::new();
        let begin = json!({"type": "begin", "data": {"path": path}});
        let end = json!({"type": "end", "data": {"path": path, "binary_offset": null}});
        let summary = json!({"type": "summary", "data": {"elapsed_total": {}, "stats": {}}});
        for one in [&begin].into_iter().chain(lines).chain([&end, &summary]) {
            out.extend_from_slice(one.to_string().as_bytes());
            out.push(b'\n');
        }
        out
    }

    fn lines_of(shape: Shape, printed: &[u8]) -> (Vec<Value>, Matches) {
        let shape = Shape {
            is_stream: true,
            ..shape
        };
        let mut matches = Matches::new(shape);
        let mut reader = matches.reader(None);
        for piece in printed.chunks(7) {
            reader.feed(piece, &mut matches).unwrap();
        }
        assert!(reader.is_complete() || matches.is_capped());
        let taken = matches.take_lines();
        let every = taken
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        (
            every
                .map(|line| serde_json::from_slice(line).unwrap())
                .collect(),
            matches,
        )
    }

    #[test]
    fn a_match_is_one_entry_at_its_first_column() {
        let printed = told(
            text("./a/b"),
            &[line("match", 3, text("xm m\r\n"), &[1, 3])],
        );
        let (found, matches) = lines_of(Shape::default(), &printed);
        assert_eq!(
            found,
            [json!({"path": "a/b", "line": 3, "column": 2, "text": "xm m"})]
        );
        assert_eq!(matches.counts(), (1, 1));
    }

    #[test]
    fn what_is_not_text_is_replaced_and_said() {
        let printed = told(
            json!({"bytes": "Li9jYWbp"}),
            &[line("match", 1, json!({"bytes": "/21tCg=="}), &[1])],
        );
        let (found, _) = lines_of(Shape::default(), &printed);
        let wanted = json!({"path": "caf\u{fffd}", "line": 1, "column": 2, "text": "\u{fffd}mm",
            "lossy": true, "path_b64": "Y2Fm6Q"});
        assert_eq!(found, [wanted]);
    }

    #[test]
    fn context_is_what_stands_around_a_match() {
        let context = |number, content| line("context", number, text(content), &[]);
        let matched = |number, content| line("match", number, text(content), &[0]);
        let printed = told(
            text("./a"),
            &[
                context(2, "b\n"),
                matched(3, "m1\n"),
                matched(4, "m2\n"),
                context(5, "e\n"),
                context(9, "i\n"),
                matched(10, "m3"),
            ],
        );
        let shape = Shape {
            context: 1,
            ..Shape::default()
        };
        let (found, _) = lines_of(shape, &printed);
        let around = |one: &Value| (one["before"].clone(), one["after"].clone());
        assert_eq!(around(&found[0]), (json!(["b"]), json!(["m2"])));
        assert_eq!(around(&found[1]), (json!(["m1"]), json!(["e"])));
        assert_eq!(around(&found[2]), (json!(["i"]), json!([])));
    }

    #[test]
    fn the_cap_is_told_only_where_more_was_there() {
        let printed = told(
            text("./a"),
            &[
                line("match", 1, text("m\n"), &[0]),
                line("match", 2, text("m\n"), &[0]),
            ],
        );
        for (most, count, is_capped) in [(1, 1, true), (2, 2, false), (3, 2, false)] {
            let shape = Shape {
                max_results: Some(most),
                ..Shape::default()
            };
            let (found, matches) = lines_of(shape, &printed);
            assert_eq!(
                (found.len(), matches.is_capped()),
                (count, is_capped),
                "{most}"
            );
        }
    }

    #[test]
    fn an_object_is_sorted_and_has_its_bound() {
        let mut matches = Matches::new(Shape {
            most_bytes: 500,
            ..Shape::default()
        });
        for path in ["./b", "./a", "./c"] {
            let mut reader = matches.reader(None);
            let printed = told(text(path), &[line("match", 1, text("m\n"), &[0])]);
            reader.feed(&printed, &mut matches).unwrap();
        }
        assert_eq!(matches.capped_by(), Some("size"));
        let mut out = Vec::new();
        matches.finish(1, |piece| out.extend(piece));
        let told: Value = serde_json::from_slice(&[b"{", &out[..], b"}"].concat()).unwrap();
        let one = json!([{"line": 1, "column": 1, "text": "m"}]);
        assert_eq!(told["results"], json!({"a": one, "b": one}));
        assert_eq!(
            told["matches"][1],
            json!({"path": "b", "line_number": 1, "text": "m"})
        );
    }

    #[test]
    fn a_match_far_into_a_line_is_read_from_the_file() {
        let place = tempfile::tempdir().unwrap();
        let content = format!("{}NEEDLE{}\nnext\n", "a".repeat(300_000), "b".repeat(9000));
        std::fs::write(place.path().join("a"), &content).unwrap();
        let first = content.lines().next().unwrap();
        let mut printed = line("match", 1, text(&format!("{first}\n")), &[300_000]);
        printed["data"]["submatches"][0]["match"] = text("NEEDLE");
        let printed = told(text("./a"), &[printed]);
        for is_there in [true, false] {
            let root = is_there.then(|| std::fs::File::open(place.path()).unwrap().into());
            let mut matches = Matches::new(Shape {
                is_stream: true,
                ..Shape::default()
            });
            matches.reader(root).feed(&printed, &mut matches).unwrap();
            let found: Value = serde_json::from_slice(&matches.take_lines()).unwrap();
            let text = found["text"].as_str().unwrap();
            assert_eq!(
                (&found["column"], &found["text_truncated"]),
                (&json!(300_001), &json!(true))
            );
            let wanted = if is_there { "aaaaNEEDLEbbbb" } else { "NEEDLE" };
            assert!(
                text.contains(wanted) && text.len() <= 2000,
                "{}",
                text.len()
            );
        }
    }

    #[test]
    fn what_a_process_told_before_it_died_is_told_once() {
        let lines: Vec<Value> = (1..=4)
            .map(|at| line("match", at, text("m\n"), &[0]))
            .collect();
        let printed = [told(text("./a"), &lines), told(text("./b"), &lines)].concat();
        let count = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
        for context in [0, 1] {
            for cut in 0..printed.len() {
                let shape = Shape {
                    is_stream: true,
                    context,
                    ..Shape::default()
                };
                let mut matches = Matches::new(shape);
                let mut first = matches.reader(None);
                first.feed(&printed[..cut], &mut matches).unwrap();
                let mut second = matches.reader_after(&first);
                second.feed(&printed, &mut matches).unwrap();
                assert_eq!(matches.counts(), (8, 2), "{cut}");
                assert_eq!(count(&matches.take_lines()), 8, "{cut}");
            }
        }
    }

    #[test]
    fn garbage_is_refused() {
        let cases: &[&[u8]] = &[
            b"garbage\n",
            b"{}\n",
            b"{\"type\":\"match\",\"data\":{\"line_number\":1}}\n",
            b"{\"type\":\"begin\",\"data\":{}}\n",
            b"\xff\xfe\n",
        ];
        for case in cases {
            let mut matches = Matches::new(Shape::default());
            let fed = matches.reader(None).feed(case, &mut matches);
            assert!(matches!(fed, Err(Error::Invalid(_))), "{case:?}");
        }
    }
}
