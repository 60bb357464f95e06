// What goes over the wire: calls, the stream of events, uploads and downloads with their progress.

const api = '/api/v1/';

/** What the server refused: `code` is the error's bare name, `parameters` its own. */
export class Refused extends Error {
  constructor(status, body) {
    super(body && body.message || 'HTTP ' + status);
    this.status = status;
    this.code = body && body.error ? body.error.split('.').pop() : '';
    this.parameters = body && body.parameters || {};
  }
}

/** The way there is cut: nothing is known of what became of it. */
export class Cut extends Error {}

async function ask(method, path, body, headers = {}) {
  let answer;
  const stop = new AbortController();
  const late = setTimeout(() => stop.abort(), 20000);
  try {
    const init = { method, headers, cache: 'no-store', credentials: 'same-origin', signal: stop.signal };
    if (body !== undefined) { init.body = JSON.stringify(body); init.headers = { 'Content-Type': 'application/json', ...headers }; }
    answer = await fetch(api + path, init);
    const text = await answer.text();
    const json = text ? JSON.parse(text) : {};
    if (answer.ok) return json;
    throw new Refused(answer.status, json);
  } catch (error) {
    if (error instanceof Refused) throw error;
    if (answer && !answer.ok) throw new Refused(answer.status, null);
    throw new Cut(String(error));
  } finally { clearTimeout(late); }
}

/** A method of the node. */
export const call = (method, parameters = {}, key) => ask('POST', method, parameters, key ? { 'Idempotency-Key': key } : {});
/** One of the methods that only read. */
export const read = (method, parameters = {}) => {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, v]) => v !== undefined && v !== null));
  return ask('GET', method + (query.size ? '?' + query : ''));
};
export const session = () => ask('GET', 'session');
export const enter = (handle, pin) => ask('POST', 'session', pin ? { handle, pin, clock: Date.now() } : { handle, clock: Date.now() });
export const leave = () => ask('DELETE', 'session');
export const post = (path, body) => ask('POST', path, body);
export const get = path => ask('GET', path);
export const del = path => ask('DELETE', path);

/** The events, with a new try after each break: `told(event)`, `state('open'|'cut'|'refused')`. */
export class Events {
  constructor(told, state, as = '') { this.told = told; this.state = state; this.as = as; this.since = null; this.pause = 500; this.source = null; }

  open() {
    this.close();
    const source = this.source = new EventSource(api + 'events?' + this.as + (this.since ? '&since=' + encodeURIComponent(this.since) : ''));
    let heard = Date.now();
    const alive = () => { heard = Date.now(); };
    source.addEventListener('beat', alive);
    source.onmessage = message => {
      alive();
      if (source !== this.source) return;
      const event = JSON.parse(message.data);
      if (message.lastEventId) this.since = message.lastEventId;
      if (event.kind === 'gap') this.since = event.epoch + ':' + event.seq;
      if (event.kind === 'ready') { this.pause = 500; this.state('open'); }
      this.told(event);
    };
    source.onerror = () => { if (source === this.source) this.again(); };
    clearInterval(this.watch);
    this.watch = setInterval(() => { if (Date.now() - heard > 45000) this.again(); }, 5000);
  }

  async again() {
    this.close();
    this.state('cut');
    const mine = this.retry = setTimeout(async () => {
      try {
        const s = await session();
        if (this.retry !== mine) return;
        if (!s.guest) return this.state('refused', s);
        this.open();
      } catch { if (this.retry === mine) this.again(); }
    }, this.pause * (0.75 + Math.random() / 2));
    this.pause = Math.min(this.pause * 1.7, 8000);
  }

  /** Now rather than after the pause, such as when the page is looked at again. */
  hurry() { if (!this.source && this.retry) { clearTimeout(this.retry); this.pause = 500; this.open(); } }

  close() {
    clearInterval(this.watch); clearTimeout(this.retry);
    if (this.source) this.source.close();
    this.source = null;
  }
}

const PIECE = 2 * 1024 * 1024;

/** Uploads a file piece by piece, going on where it was when the way breaks; gives its id. */
export async function upload(file, progress, signal) {
  const begin = () => ask('POST', 'uploads', { name: file.name || '', size: file.size });
  if (signal.aborted) throw new Cut('cancelled');
  let made = await begin();
  let at = 0, tries = 0;
  while (at < file.size) {
    if (signal.aborted) { del('uploads/' + made.id).catch(() => {}); throw new Cut('cancelled'); }
    try {
      at = await piece(made.id, file.slice(at, at + PIECE), at, n => progress(n / file.size), signal);
      tries = 0;
    } catch (error) {
      if (error instanceof Refused && ![404, 409, 429, 503].includes(error.status) || signal.aborted || ++tries > 60) throw error;
      await new Promise(done => setTimeout(done, Math.min(500 * tries, 5000)));
      try { at = (await ask('GET', 'uploads/' + made.id)).offset; } catch (e) {
        if (!(e instanceof Refused)) continue;
        if (e.status !== 404) throw e;
        made = await begin(); // the daemon began anew meanwhile
        at = 0;
      }
    }
    progress(at / file.size);
  }
  return made.id;
}

function piece(id, blob, at, progress, signal) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open('PATCH', api + 'uploads/' + id);
    request.setRequestHeader('Upload-Offset', at);
    request.setRequestHeader('Content-Type', 'application/octet-stream');
    request.timeout = 60000;
    request.upload.onprogress = e => progress(at + e.loaded);
    request.onload = () => {
      let body = null;
      try { body = JSON.parse(request.responseText); } catch { /* it says nothing */ }
      if (request.status === 200 && body) done(body.offset); else failed(new Refused(request.status, body));
    };
    request.onerror = request.ontimeout = () => failed(new Cut('cut'));
    request.onabort = () => failed(new Cut('cancelled'));
    signal.addEventListener('abort', () => request.abort(), { once: true });
    request.send(blob);
  });
}

/** Sends a file as the body of one call, with progress; what was answered. */
export function send(path, file, progress) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open('POST', api + path);
    request.setRequestHeader('Content-Type', 'application/octet-stream');
    request.upload.onprogress = e => progress(e.loaded / file.size);
    request.onload = () => {
      let body = null;
      try { body = JSON.parse(request.responseText); } catch { /* it says nothing */ }
      if (request.status === 200 && body) done(body); else failed(new Refused(request.status, body));
    };
    request.onerror = () => failed(new Cut(''));
    request.send(file);
  });
}

/** Loads a file with progress and hands it to the browser's own saving. */
export async function download(url, name, progress) {
  const answer = await fetch(url, { credentials: 'same-origin' });
  if (!answer.ok) throw new Refused(answer.status, null);
  const size = Number(answer.headers.get('Content-Length')) || 0;
  const reader = answer.body.getReader();
  const parts = [];
  for (let got = 0; ;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value); got += value.length;
    if (size) progress(got / size);
  }
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob(parts));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 30000);
}
