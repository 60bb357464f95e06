//! Files up and down: uploads go to the disk as they come and go on where they broke off;
//! downloads are read from it as they are taken.

use std::cell::RefCell;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;

use futures_lite::stream;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
};
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::files::Paper;
use super::gate::gives_way;
use super::http::{self, Range};
use super::reply::{self, FILE_POLICY, Reply};
use super::server::{self, Payload};
use super::shelf::{MAX_UPLOADS, MAX_UPLOADS_EACH, Shelf, Stored, UPLOAD_MS};
use super::site::{Head, Site, Who, bad_body};
use crate::dialect::link::files::names_of;
use crate::model::{IoError, Map, Millis, Refusal, Trouble};

const FILE: &str = "uploads.json";
/// Bytes of the file that uploads are remembered in.
const MAX_FILE: u64 = 1024 * 1024;
/// Bytes handed to the disk together.
const PIECE: usize = 64 * 1024;

/// Those under way, by id.
pub type Uploads = Map<String, Rc<Upload>>;

/// One upload under way.
pub struct Upload {
    owner: String,
    from: IpAddr,
    name: String,
    size: u64,
    state: RefCell<State>,
}

impl Upload {
    /// The id of the guest who sends it.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Bytes in all.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that are there.
    pub fn done(&self) -> u64 {
        self.state.borrow().offset
    }
}

struct State {
    offset: u64,
    /// None while a request has it.
    paper: Option<Paper>,
    last: Millis,
}

/// What was kept of earlier uploads.
pub fn read(folder: &Path) -> Shelf {
    let mut text = String::new();
    let file = std::fs::File::open(folder.join(FILE));
    match file.and_then(|file| file.take(MAX_FILE).read_to_string(&mut text)) {
        Ok(_) => serde_json::from_str(&text).unwrap_or_else(|error| {
            log::warn!("web: {FILE} is damaged ({error}): the files of earlier uploads stay");
            Shelf::default()
        }),
        Err(_) => Shelf::default(),
    }
}

/// Keeps it.
///
/// # Errors
/// As the file system has them.
pub fn write(shelf: &Shelf, folder: &Path) -> io::Result<()> {
    use std::io::Write;
    let new = folder.join(format!("{FILE}.new"));
    let _ = std::fs::remove_file(&new);
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(shelf)?)?;
    std::fs::rename(&new, folder.join(FILE))
}

fn trouble(error: &IoError) -> Reply {
    let status = match error.kind {
        Trouble::Full => StatusCode::INSUFFICIENT_STORAGE,
        Trouble::Exhausted => StatusCode::SERVICE_UNAVAILABLE,
        Trouble::Missing => StatusCode::GONE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    reply::wrong(status, &error.text)
}

/// `POST /api/v1/uploads`: announces a file; answered with its id.
pub async fn begin(site: &Rc<Site>, head: &Head, body: Incoming) -> Reply {
    let Who::Guest(id) = &head.who else {
        return reply::wrong(StatusCode::UNAUTHORIZED, "come in first");
    };
    let object = match site.json(head, body).await {
        Ok(object) => object,
        Err(reply) => return reply,
    };
    let Some(size) = object.get("size").and_then(Value::as_u64).filter(|size| *size > 0) else {
        return super::calls::bad_parameter("size");
    };
    let Some(name) = object.get("name").and_then(Value::as_str) else {
        return super::calls::bad_parameter("name");
    };
    if site.guests.borrow_mut().by_id(id).is_some_and(|guest| guest.muted) {
        return reply::wrong(StatusCode::FORBIDDEN, "the operator has muted you");
    }
    let set = site.set();
    let most = set.upload.min(set.quota);
    if size > most {
        return reply::refusal(&Refusal::TooLong { bytes: size, limit: most });
    }
    let now = site.now();
    give_up_idle(site, now);
    if let Err(reply) = has_place(site, id, head.from) {
        return reply;
    }
    let made = match super::guests::random() {
        Ok(random) => random,
        Err(error) => return trouble(&error.into()),
    };
    let paper = match site.desk.create(format!("page-{}", &made[..12])).await {
        Ok(paper) => paper,
        Err(error) => return trouble(&error),
    };
    let upload = Upload {
        owner: id.clone(),
        from: head.from,
        name: http::shown_name(name),
        size,
        state: RefCell::new(State { offset: 0, paper: Some(paper), last: now }),
    };
    if let Err(reply) = has_place(site, id, head.from) {
        return reply; // others of its own began while the file was made
    }
    site.uploads.borrow_mut().insert(made.clone(), Rc::new(upload));
    reply::json(StatusCode::CREATED, &json!({"id": made, "offset": 0, "size": size}))
}

/// Gives up those that got no byte for [`UPLOAD_MS`]: what came of them takes room.
pub(super) fn give_up_idle(site: &Site, now: Millis) {
    let idle = |upload: &Rc<Upload>| {
        let state = upload.state.borrow();
        state.paper.is_some() && state.last + UPLOAD_MS < now
    };
    site.uploads.borrow_mut().retain(|_, upload| !idle(upload));
}

/// Whether one more may begin: where there are too many in all, the address that sends most gives
/// up the one that waits longest for its next bytes.
fn has_place(site: &Site, owner: &str, from: IpAddr) -> Result<(), Reply> {
    let full = || reply::later(StatusCode::TOO_MANY_REQUESTS, 3, "too many uploads at once");
    let mut uploads = site.uploads.borrow_mut();
    if uploads.values().filter(|upload| upload.owner == owner).count() >= MAX_UPLOADS_EACH {
        return Err(full());
    }
    if uploads.len() >= MAX_UPLOADS {
        let most = gives_way(uploads.values().map(|upload| upload.from), from).ok_or_else(full)?;
        let of_most = uploads.iter().filter(|(_, upload)| upload.from == most);
        let leaves = of_most.min_by_key(|(_, upload)| upload.state.borrow().last);
        let leaves = leaves.map(|(id, _)| id.clone()).ok_or_else(full)?;
        uploads.remove(&leaves);
    }
    Ok(())
}

/// `/api/v1/uploads/<id>`: how far it is, the next bytes of it, or its end.
pub async fn go_on(site: &Rc<Site>, head: &Head, id: &str, body: Incoming) -> Reply {
    let Who::Guest(guest) = &head.who else {
        return reply::wrong(StatusCode::UNAUTHORIZED, "come in first");
    };
    let upload = site.uploads.borrow().get(id).filter(|upload| upload.owner == *guest).cloned();
    let Some(upload) = upload else {
        // it may be whole already, and the answer that said so was lost
        let whole = site.shelf.borrow().get(id).filter(|f| f.owner == *guest).map(|f| f.size);
        return match whole {
            Some(size) => reply::good(&json!({"id": id, "offset": size, "size": size})),
            None => reply::wrong(StatusCode::NOT_FOUND, "there is no such upload of yours"),
        };
    };
    match head.method {
        Method::DELETE => {
            site.uploads.borrow_mut().remove(id);
            reply::good(&json!({}))
        }
        Method::PATCH => patch(site, head, id, &upload, body).await,
        _ => told(id, &upload),
    }
}

fn told(id: &str, upload: &Upload) -> Reply {
    let offset = upload.state.borrow().offset;
    reply::good(&json!({"id": id, "offset": offset, "size": upload.size}))
}

async fn patch(
    site: &Rc<Site>,
    head: &Head,
    id: &str,
    upload: &Rc<Upload>,
    mut body: Incoming,
) -> Reply {
    let offset = head.header("upload-offset").and_then(|line| line.parse::<u64>().ok());
    let Some(offset) = offset else { return super::calls::bad_parameter("Upload-Offset") };
    let paper = {
        let mut state = upload.state.borrow_mut();
        if state.offset != offset {
            let text = format!("it has {} bytes: go on from there", state.offset);
            return reply::wrong(StatusCode::CONFLICT, &text);
        }
        state.paper.take()
    };
    let Some(paper) = paper else {
        return reply::wrong(StatusCode::CONFLICT, "another request is sending it");
    };
    let hold = Hold { upload: Rc::clone(upload), paper: Some(paper) };
    let mut waiting = Vec::new();
    let bad = loop {
        let next = server::next(&mut body).await;
        let end = !matches!(next, Ok(Some(_)));
        if let Ok(Some(bytes)) = &next {
            waiting.extend_from_slice(bytes);
        }
        if !site.uploads.borrow().contains_key(id) {
            break Some(reply::wrong(StatusCode::GONE, "the upload was ended here"));
        }
        let offset = upload.state.borrow().offset;
        if offset + waiting.len() as u64 > upload.size {
            break Some(bad_body(server::BadBody::TooLong));
        }
        if !waiting.is_empty() && (end || waiting.len() >= PIECE) {
            let bytes = std::mem::take(&mut waiting);
            let count = bytes.len() as u64;
            let Some(paper) = &hold.paper else { break None };
            if let Err(error) = paper.append(bytes).await {
                site.uploads.borrow_mut().remove(id);
                break Some(trouble(&error));
            }
            let mut state = upload.state.borrow_mut();
            (state.offset, state.last) = (state.offset + count, site.now());
            site.counts.uploaded.set(site.counts.uploaded.get() + count);
        }
        match next {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(bad) => break Some(bad_body(bad)),
        }
    };
    if let Some(reply) = bad {
        return reply;
    }
    if upload.state.borrow().offset < upload.size {
        drop(hold);
        return told(id, upload);
    }
    finish(site, id, upload, hold).await
}

/// Gives an upload's file back when its request ends, however it ends.
struct Hold {
    upload: Rc<Upload>,
    paper: Option<Paper>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(paper) = self.paper.take() {
            self.upload.state.borrow_mut().paper = Some(paper);
        }
    }
}

async fn finish(site: &Rc<Site>, id: &str, upload: &Rc<Upload>, mut hold: Hold) -> Reply {
    let Some(paper) = hold.paper.take() else {
        return reply::wrong(StatusCode::CONFLICT, "another request is sending it");
    };
    let finished = paper.finish().await;
    site.uploads.borrow_mut().remove(id);
    let (path, picture) = match finished {
        Ok(finished) => finished,
        Err(error) => return trouble(&error),
    };
    let stored = Stored {
        id: id.to_owned(),
        owner: upload.owner.clone(),
        path,
        size: upload.size,
        format: picture.format.to_owned(),
        name: upload.name.clone(),
        link: None,
    };
    site.keep_file(stored);
    let size = upload.size;
    reply::good(&json!({"id": id, "offset": size, "size": size, "format": picture.format}))
}

/// `/api/v1/files/<entry>`: the file of an entry that this guest's page was told of; where that is
/// a folder, what is in it, and below that its files by their paths.
pub async fn file(site: &Rc<Site>, head: &Head, entry: &str, within: Option<&str>) -> Reply {
    let none = || reply::wrong(StatusCode::NOT_FOUND, "there is no such file for you");
    let Who::Guest(id) = &head.who else {
        return reply::wrong(StatusCode::UNAUTHORIZED, "come in first");
    };
    let Some(shown) = site.seen.borrow().get(id, entry).cloned() else { return none() };
    match (shown.format == "folder", within) {
        (false, None) => give(site, head, &shown.path, &shown.name).await,
        (false, Some(_)) => none(),
        (true, None) => {
            // each file in it is looked at
            if !super::calls::may_decide(site, id) {
                return reply::later(StatusCode::TOO_MANY_REQUESTS, 1, "too much at once: slower");
            }
            listing(site, head, entry, shown.path).await
        }
        (true, Some(path)) => {
            let path = http::decoded(path, false);
            match names_of(&path).and_then(|names| names.last().copied()) {
                Some(name) => give(site, head, &format!("{}/{path}", shown.path), name).await,
                None => none(),
            }
        }
    }
}

/// What is in a folder: for scripts as JSON, for a browser that shows it as links.
async fn listing(site: &Rc<Site>, head: &Head, entry: &str, path: String) -> Reply {
    let (paper, survey) = match site.desk.folder(&path, head.from).await {
        Ok(opened) => opened,
        Err(error) => return trouble(&error),
    };
    let html = head.header("accept").is_some_and(|kinds| kinds.contains("text/html"));
    let lines = Lines { paper, path, stamp: survey.stamp, files: survey.files, next: 0, html };
    let entry = entry.to_owned();
    let pieces = stream::unfold(Some(lines), move |lines| {
        let entry = entry.clone();
        async move {
            let mut lines = lines?;
            let end = lines.next >= lines.files;
            match lines.more(&entry).await {
                Ok(text) => Some((Ok(Bytes::from(text)), (!end).then_some(lines))),
                Err(error) => Some((Err(io::Error::other(error.text)), None)),
            }
        }
    });
    let mut reply = Response::new(Payload::pieces(Box::pin(pieces)));
    let kind = if html { "text/html; charset=utf-8" } else { "application/json" };
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

/// A listing as it is written.
struct Lines {
    paper: Paper,
    path: String,
    stamp: u64,
    files: u32,
    next: u32,
    html: bool,
}

impl Lines {
    /// Some more files, or the end.
    async fn more(&mut self, entry: &str) -> Result<String, IoError> {
        if self.next >= self.files {
            return Ok(if self.html { "</ul>\n" } else { "]}" }.to_owned());
        }
        let begin =
            if self.html { "<!doctype html><title>klatsch</title><ul>\n" } else { "{\"files\":[" };
        let mut text = if self.next == 0 { begin.to_owned() } else { String::new() };
        while self.next < self.files && text.len() < PIECE / 4 {
            let (path, size) = self.paper.within(&self.path, self.stamp, self.next).await?;
            let url: Vec<String> = path.split('/').map(http::encoded).collect();
            let url = format!("/api/v1/files/{entry}/{}", url.join("/"));
            if self.html {
                let (url, path) = (http::escaped(&url), http::escaped(&path));
                text += &format!("<li><a href=\"{url}\" download>{path}</a> {size}</li>\n");
            } else {
                let comma = if self.next == 0 { "" } else { "," };
                let file = json!({"path": path, "size": size, "url": url});
                text += &format!("{comma}{file}");
            }
            self.next += 1;
        }
        Ok(text)
    }
}

/// `/d/<token>/<name>`: a download address.
pub async fn link(site: &Rc<Site>, head: &Head, token: &str) -> Reply {
    let stored = site.shelf.borrow().by_link(token, site.wall()).cloned();
    match stored {
        Some(stored) => give(site, head, &stored.path, &stored.name).await,
        None => reply::line(StatusCode::NOT_FOUND, "this address does not hold any more"),
    }
}

/// A file or a part of it, as bytes that nothing runs.
async fn give(site: &Rc<Site>, head: &Head, path: &str, name: &str) -> Reply {
    let (paper, size, picture) = match site.desk.open(path, head.from).await {
        Ok(opened) => opened,
        Err(error) => return trouble(&error),
    };
    let (first, last, status) = match http::range(head.header("range"), size) {
        Range::Whole => (0, size.saturating_sub(1), StatusCode::OK),
        Range::Part(first, last) => (first, last, StatusCode::PARTIAL_CONTENT),
        Range::Unsatisfiable => {
            let mut reply = reply::wrong(StatusCode::RANGE_NOT_SATISFIABLE, "it is not that long");
            reply::set(&mut reply, CONTENT_RANGE, &format!("bytes */{size}"));
            return reply;
        }
    };
    let length = if size == 0 { 0 } else { last - first + 1 };
    let payload = match size {
        0 => Payload::whole(&b""[..]),
        _ => Payload::pieces(paper.pieces(first, last)),
    };
    let mut reply = Response::new(payload);
    *reply.status_mut() = status;
    let kind = http::content_type(picture.format);
    let headers = reply.headers_mut();
    headers
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind.unwrap_or("application/octet-stream")));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(FILE_POLICY));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=86400"));
    headers.insert(HeaderName::from_static("x-frame-options"), HeaderValue::from_static("DENY"));
    reply::set(&mut reply, CONTENT_LENGTH, &length.to_string());
    if kind.is_none() {
        reply::set(&mut reply, CONTENT_DISPOSITION, &http::attachment(name));
    }
    if status == StatusCode::PARTIAL_CONTENT {
        reply::set(&mut reply, CONTENT_RANGE, &format!("bytes {first}-{last}/{size}"));
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::hub::Hub;
    use crate::node::io::{FileDone, FileOp};
    use crate::web::site::tests::bare;

    #[test]
    fn an_upload_that_stands_still_is_given_up_though_nobody_begins_another() {
        let (hub, _calls) = Hub::new(1);
        let site = bare(Rc::clone(&hub), Settings::default(), None);
        let operations = hub.file_operations();
        let made = async {
            let (file, _) = operations.recv().await.unwrap();
            hub.file_done(file, Ok(FileDone::Created));
        };
        let (paper, ()) = crate::reactor::block_on(futures_lite::future::zip(
            site.desk.create("page-1".into()),
            made,
        ));
        let state = RefCell::new(State { offset: 3, paper: paper.ok(), last: 7 });
        let from = IpAddr::from([10, 0, 0, 1]);
        let upload = Upload { owner: "g".into(), from, name: "a".into(), size: 9, state };
        site.uploads.borrow_mut().insert("u".into(), Rc::new(upload));
        give_up_idle(&site, 7 + UPLOAD_MS);
        assert_eq!(site.uploads.borrow().len(), 1);
        give_up_idle(&site, 8 + UPLOAD_MS);
        assert!(site.uploads.borrow().is_empty());
        assert_eq!(operations.try_recv().unwrap().1, FileOp::Discard, "it takes no more room");
    }
}
