// The page: what is known, what was just learned, and what a person does with it.

import { t, speak, lang } from './words.js';
import * as net from './net.js';
import { $, el, face, message, moving, saving, fate, clock, day, shortDay, toast, bytes, isJumbo } from './view.js';
import { notice, noticed } from './notice.js';
import { setUp } from './sheets.js';

const LOBBY = '#lobby';
const PAGE = 50;
const MOST = 600; // entries of one conversation that are kept on the page

export const state = {
  me: null, session: null, people: new Map(), rooms: new Map(), conversations: new Map(), open: null, queue: [], online: false, shift: 0,
};
const kept = {
  get(key) { try { return JSON.parse(localStorage.getItem('klatsch.' + key)); } catch { return null; } },
  set(key, value) { try { localStorage.setItem('klatsch.' + key, JSON.stringify(value)); } catch { /* full or forbidden */ } },
};
export { kept };

const isRoom = key => key[0] === '#' && key !== LOBBY;
const keyOf = name => name.toLowerCase() === 'lobby' ? LOBBY : name.toLowerCase();

function conversation(key, title) {
  let c = state.conversations.get(key);
  if (!c) {
    c = { key, title: key === LOBBY ? t('lobby') : title || key, entries: [], moves: new Map(), unread: 0, more: true, loaded: false, draft: '', last: 0 };
    state.conversations.set(key, c);
  }
  return c;
}

// --- what is learned -----------------------------------------------------------------------------

const when = at => Date.parse(at) + state.shift;

/** An event about a text or picture, or a kept entry, as the page holds it. */
function entryOf(e, kept) {
  // an entry of the room of all is one for everyone who is here
  const mine = e.direction === 'out' && !(kept && e.user === null && e.from.toLowerCase() !== state.me.handle.toLowerCase());
  const place = String(e.conversation);
  const key = kept ? keyOf(place) : place === 'lobby' || place.startsWith('#') ? keyOf(place) : keyOf(mine ? e.to : e.from);
  const entry = { id: e.id, order: e.order ?? null, key, from: mine ? state.me.handle : e.from, mine, at: when(e.at), undated: e.dated === false, auto: !!e.autoreply, to: new Map() };
  const body = kept ? e.body : e.kind === 'message' ? { kind: 'text', text: e.text } : { ...e, kind: 'file' };
  if (body.kind === 'text') entry.text = body.text;
  else entry.file = { url: body.url, name: body.name || '', size: body.size, format: body.format, width: body.width, height: body.height };
  for (const r of e.recipients || []) entry.to.set(r.peer, { handle: r.handle, state: r.state, reason: r.reason });
  return entry;
}

function find(c, id) {
  for (let n = c.entries.length - 1; n >= 0; n--) if (c.entries[n].id === id) return c.entries[n];
  return null;
}

/** Puts an entry into its conversation, once; whether it was new. */
function put(entry, old) {
  const c = conversation(entry.key, entry.mine ? undefined : entry.from);
  const there = find(c, entry.id);
  if (there) {
    there.order ??= entry.order;
    if (entry.file?.url && !there.file?.url) { there.file = entry.file; delete there.text; }
    for (const [peer, r] of entry.to) fated(there, peer, r);
    return false;
  }
  if (entry.mine) {
    // what this page sent itself and has no answer for yet
    const own = c.entries.find(e => e.sending && !e.id && (entry.text !== undefined ? e.text === entry.text : !!e.file));
    if (own) { own.id = entry.id; own.order = entry.order; own.at = entry.at; if (entry.file) own.file = entry.file; for (const [p, r] of entry.to) fated(own, p, r); done(own); return true; }
  }
  let n = c.entries.length;
  const before = other => other.state ? false : entry.order !== null && other.order !== null ? other.order <= entry.order : other.at <= entry.at;
  if (old || c.entries.some(e => e.state)) while (n > 0 && !before(c.entries[n - 1])) n--;
  c.entries.splice(n, 0, entry);
  c.last = Math.max(c.last, entry.at);
  if (c.entries.length > MOST && !old) { c.entries.splice(0, c.entries.length - MOST); c.more = true; }
  return true;
}

/** What became of an entry at one recipient: news of it may overtake the answer to the sending. */
const fates = new Map();
const RANK = { queued: 0, sent: 1, delivered: 2, failed: 2, read: 3 };
function fated(entry, peer, r) {
  const news = fates.get(entry.id + peer);
  entry.to.set(peer, news && RANK[news.state] >= RANK[r.state] ? { ...r, ...news } : r);
}

/** Something of ours has its id: it waits no longer. */
function done(entry) {
  delete entry.state; delete entry.reason; delete entry.upload; entry.sending = false;
  state.queue = state.queue.filter(q => q !== entry);
  keepQueue();
}

function told(e) {
  switch (e.kind) {
    case 'ready':
      state.shift = Math.abs(Date.now() - Date.parse(e.at)) > 120000 ? Date.now() - Date.parse(e.at) : 0;
      who();
      break;
    case 'message': case 'image': {
      const entry = entryOf(e, false);
      const fresh = put(entry, false);
      if (fresh && !entry.mine) arrived(entry);
      redraw(entry.key, fresh ? undefined : find(conversation(entry.key), entry.id));
      break;
    }
    case 'delivery':
      fates.set(e.id + e.peer, { state: e.state, reason: e.reason });
      if (fates.size > 500) fates.delete(fates.keys().next().value);
      for (const c of state.conversations.values()) {
        const entry = find(c, e.id);
        if (entry) { entry.to.set(e.peer, { handle: e.recipient, state: e.state, reason: e.reason }); redraw(c.key, entry); break; }
      }
      break;
    case 'peer-renamed': moved(e); who(); break;
    case 'peer-joined': case 'peer-left': case 'peer-away': case 'peer-back': who(); break;
    case 'transfer': transfer(e); break;
    case 'session': who(); break;
    case 'gap': missed(); break;
    case 'config':
      if (e.user && e.key === 'inactive') { state.me.away = e.value === 'on'; drawMe(); }
      if (e.user && e.key === 'handle') { state.me.handle = e.value; drawMe(); }
      break;
    case 'muted': state.me.muted = e.on; if (e.on) toast(t('muted')); break;
    case 'error': if (e.user) toast(e.text); break;
  }
}

/** A file on its way over the link: shown below its conversation until it is there. */
function transfer(e) {
  if (e.number === null || e.number === undefined) return;
  const c = conversation(keyOf(e.handle), e.handle), fresh = !c.moves.has(e.id);
  if (e.state === 'done') c.moves.delete(e.id); else c.moves.set(e.id, e);
  if (c.moves.size > 50) c.moves.delete(c.moves.keys().next().value);
  if (fresh && e.state === 'offered' && e.direction === 'in') { c.last = Date.now(); if (state.open !== c.key) c.unread++; notice(e.handle); }
  drawListSoon();
  if (c.key === state.open) drawMoves();
}

function drawMoves() {
  const c = state.conversations.get(state.open), log = $('log'), end = atEnd();
  for (const old of log.querySelectorAll('.moving')) if (!c.moves.has(old.dataset.id.slice(9))) old.remove();
  for (const e of c.moves.values()) {
    const there = log.querySelector(`[data-id="${CSS.escape('transfer-' + e.id)}"]`), now = moving(e, acts);
    const held = there?.contains(document.activeElement) && document.activeElement.textContent;
    if (there) there.replaceWith(now); else log.append(now);
    if (held) [...now.querySelectorAll('button')].find(b => b.textContent === held)?.focus();
  }
  if (end) toEnd();
}

function moved(e) {
  const from = keyOf(e.old), to = keyOf(e.handle), c = state.conversations.get(from);
  if (!c || from === to || state.conversations.has(to)) return;
  state.conversations.delete(from);
  c.key = to; c.title = e.handle;
  for (const entry of c.entries) entry.key = to;
  state.conversations.set(to, c);
  if (state.open === from) show(to);
}

function arrived(entry) {
  const c = conversation(entry.key);
  const looking = state.open === entry.key && document.visibilityState === 'visible' && document.hasFocus() && atEnd();
  if (!looking) c.unread++; else markRead(c);
  if (!looking || entry.key !== state.open) notice(entry.from);
  drawList();
}

/** Events were lost: what is shown is fetched again from what is kept. */
async function missed() {
  for (const c of state.conversations.values()) c.stale = c.loaded;
  const lost = await recent();
  if (state.open) await history(state.conversations.get(state.open), true);
  if (!lost && state.open) drawLog();
  who();
  try {
    const { transfers = [] } = await net.session(), there = new Set(transfers.map(e => e.id));
    for (const c of state.conversations.values()) for (const id of c.moves.keys()) if (!there.has(id)) c.moves.delete(id);
    transfers.forEach(transfer);
    if (state.open) drawMoves();
  } catch { /* the next gap, or the next visit */ }
}

// --- people --------------------------------------------------------------------------------------

let whoSoon;
function who() {
  clearTimeout(whoSoon);
  whoSoon = setTimeout(async () => {
    try {
      const { peers } = await net.read('Who');
      state.people = new Map(peers.filter(p => !p.blocked).map(p => [keyOf(p.name), p]));
      for (const p of peers) { const c = state.conversations.get(keyOf(p.name)); if (c) c.title = p.name; }
      await rooms();
      drawList(); drawHead();
    } catch { /* the next event or connection asks again */ }
  }, 250);
}

/** The rooms between linked boxes, where the node knows any. */
export async function rooms() {
  try {
    const { rooms } = await net.read('Rooms');
    state.rooms = new Map(rooms.map(r => [keyOf(r.room), r]));
    for (const [key, r] of state.rooms) if (r.joined) conversation(key, r.room);
    $('rooms').hidden = false;
  } catch { state.rooms = new Map(); }
}

// no event tells who enters and leaves a room
setInterval(() => { if (state.online && !document.hidden && state.open && isRoom(state.open)) rooms().then(drawHead); }, 10000);

export async function room(method, name) {
  const wanted = '#' + name.trim().replace(/^#+/, '').replace(/\s+/g, '-');
  await net.call(method, { room: wanted });
  await rooms();
  if (method === 'RoomJoin') show(keyOf(wanted), wanted, true); else show(LOBBY);
}

// --- what is drawn -------------------------------------------------------------------------------

export function drawMe() {
  if (!state.me) return;
  face($('me-face'), state.me.handle, state.me.away ? 'away' : 'online');
  $('me-name').textContent = state.me.handle;
  $('me-state').textContent = state.me.away ? t('away') : t('online');
}

const LISTED = 300;
export function drawList() {
  const wanted = $('search').value.trim().toLowerCase();
  const fits = name => !wanted || name.toLowerCase().includes(wanted);
  const talks = [...state.conversations.values()].filter(c => c.key === LOBBY || state.rooms.get(c.key)?.joined || c.entries.length || c.last || c.unread || c.key === state.open)
    .sort((a, b) => (b.key === LOBBY) - (a.key === LOBBY) || b.last - a.last).filter(c => fits(c.title));
  const shown = new Set(talks.map(c => c.key));
  const others = [...state.people.values()].filter(p => !shown.has(keyOf(p.name)) && fits(p.name)).slice(0, LISTED);
  const had = document.activeElement?.dataset?.key;
  const out = document.createDocumentFragment();
  for (const c of talks) out.append(item(c.key, c.title, c));
  if (others.length) out.append(el('h2', {}, t('people')));
  for (const p of others) out.append(item(keyOf(p.name), p.name, null));
  if (!state.people.size) out.append(el('p', { className: 'empty' }, t('nobody')));
  if (wanted && found) {
    out.append(el('h2', {}, t('results')));
    for (const e of found) out.append(hit(e));
    if (!found.length) out.append(el('p', { className: 'empty' }, t('nothing')));
  }
  $('list').replaceChildren(out);
  if (had) $('list').querySelector(`[data-key="${CSS.escape(had)}"]`)?.focus();
  const unread = [...state.conversations.values()].reduce((n, c) => n + c.unread, 0);
  document.title = (unread ? '(' + unread + ') ' : '') + 'klatsch';
}

const preview = e => e.text !== undefined ? e.text : e.file && e.file.format !== 'unknown' ? t('picture') : e.upload?.name || e.file?.name || '';

function item(key, title, c) {
  const person = state.people.get(key);
  const presence = key[0] === '#' ? null : person ? person.presence : 'gone';
  const last = c && c.entries[c.entries.length - 1];
  const label = title + (presence ? ', ' + t(presence) : '') + (c?.unread ? ', ' + t('unread', c.unread) : '');
  const low = last ? (last.mine ? t('you') + ': ' : key[0] === '#' ? last.from + ': ' : '') + preview(last) : key === LOBBY ? t('lobbyAbout', state.people.size) : isRoom(key) ? aboutRoom(key) : t(presence);
  const e = el('button', { type: 'button', className: 'item', 'data-key': key, 'aria-current': state.open === key ? 'true' : null, 'aria-label': label, onclick: () => { if ($('search').value) { $('search').value = ''; found = null; } show(key, title, true); } },
    face(el('span', { 'aria-hidden': 'true' }), key === LOBBY ? '#' : title.replace(/^#/, ''), presence),
    el('span', { className: 'who' },
      el('span', { className: 'top' }, el('strong', {}, title), last ? el('time', {}, shortDay(last.at)) : null),
      el('span', { className: 'low' }, el('small', {}, low), c?.unread ? el('span', { className: 'badge' }, String(c.unread)) : null)));
  return e;
}

function aboutRoom(key) {
  const r = state.rooms.get(key);
  return r?.joined ? t('roomAbout', r.members.length) : t('notIn');
}

function drawHead() {
  const c = state.conversations.get(state.open);
  if (!c) return;
  const person = state.people.get(c.key);
  $('leave-room').hidden = !state.rooms.get(c.key)?.joined;
  face($('face'), c.key === LOBBY ? '#' : c.title.replace(/^#/, ''), c.key[0] === '#' ? null : person ? person.presence : 'gone');
  $('title').textContent = c.title;
  $('about').textContent = c.key === LOBBY ? t('lobbyAbout', state.people.size) : isRoom(c.key) ? aboutRoom(c.key) + (state.rooms.get(c.key)?.joined ? ': ' + state.rooms.get(c.key).members.map(m => m.name).join(', ') : '') : t(person ? person.presence : 'gone') + (person && person.trust === 'plain' ? ' · ' + person.dialect.join(', ') : '');
}

const acts = {
  again(entry) {
    if (entry.source && !entry.upload_id) { acts.discard(entry); sendFile(entry.source, entry.key); return; }
    entry.state = 'waiting'; delete entry.reason; if (!state.queue.includes(entry)) state.queue.push(entry); redraw(entry.key); flush();
  },
  discard(entry) {
    entry.stop?.abort();
    state.queue = state.queue.filter(q => q !== entry); keepQueue();
    const c = conversation(entry.key); c.entries = c.entries.filter(e => e !== entry); redraw(entry.key);
  },
  picture(entry) { lightbox(entry); },
  async transfer(method, e) { try { await net.call(method, { number: e.number }); } catch (error) { toast(error.message || t('trouble')); } },
  async look(folder, button, list) {
    list.hidden = !list.hidden;
    button.setAttribute('aria-expanded', String(!list.hidden));
    if (list.hidden || list.firstChild) return;
    try {
      const { files } = await net.get(folder.url.replace('/api/v1/', ''));
      list.append(...files.map(f => el('li', {}, saving({ url: f.url, name: f.path, size: f.size }, acts))));
    } catch (error) { list.hidden = true; toast(error.status === 410 ? t('expired') : error.message || t('trouble')); }
  },
  async save(file, bar, about) {
    bar.hidden = false;
    try { await net.download(file.url, (file.name || 'file').split('/').pop(), p => { bar.value = p; about.textContent = t('loading', Math.round(p * 100)); }); about.textContent = t('saved'); } catch (error) { about.textContent = error.status === 404 || error.status === 410 ? t('expired') : t('trouble'); }
    bar.hidden = true;
  },
};

const atEnd = () => { const s = $('scroll'); return s.scrollHeight - s.scrollTop - s.clientHeight < 90; };
const toEnd = () => { const s = $('scroll'); s.scrollTop = s.scrollHeight; };

/** Draws the open conversation anew, leaving what is being read where it is. */
export function drawLog(stay) {
  const c = state.conversations.get(state.open);
  if (!c) return;
  const log = $('log'), s = $('scroll'), fromEnd = s.scrollHeight - s.scrollTop;
  log.setAttribute('aria-live', 'off');
  const out = document.createDocumentFragment();
  if (!c.more && c.entries.length) out.append(el('p', { className: 'sys' }, t('begin')));
  if (!c.more && !c.entries.length) out.append(el('p', { className: 'sys' }, t('noHistory')));
  let before = null;
  for (const entry of c.entries) {
    if (!before || day(before.at) !== day(entry.at)) { out.append(el('div', { className: 'day' }, day(entry.at))); before = null; }
    out.append(message(entry, before, acts));
    before = entry;
  }
  for (const e of c.moves.values()) out.append(moving(e, acts));
  log.replaceChildren(out);
  drawn = { key: c.key, ids: c.entries.map(e => e.id || e.client) };
  if (stay) s.scrollTop = s.scrollHeight - fromEnd; else toEnd();
  requestAnimationFrame(() => log.setAttribute('aria-live', 'polite'));
}
let drawn = { key: null, ids: [] };

/** Something of a conversation changed: as little as possible is drawn. */
function redraw(key, changed) {
  drawListSoon();
  if (key !== state.open) return;
  const c = state.conversations.get(key), log = $('log'), end = atEnd();
  const name = e => e.id || e.client;
  if (changed) {
    const there = log.querySelector(`[data-id="${CSS.escape(name(changed))}"]`);
    const n = c.entries.indexOf(changed);
    if (there && n >= 0) { there.replaceWith(message(changed, sameDay(c.entries[n - 1], changed), acts)); if (end) toEnd(); return; }
  }
  const grown = drawn.key === key && c.entries.length > drawn.ids.length && drawn.ids.every((id, n) => name(c.entries[n]) === id);
  if (!grown || !drawn.ids.length) { drawLog(!end); return; }
  for (let n = drawn.ids.length; n < c.entries.length; n++) {
    const entry = c.entries[n], before = c.entries[n - 1];
    if (before && day(before.at) !== day(entry.at)) log.append(el('div', { className: 'day' }, day(entry.at)));
    const e = message(entry, sameDay(before, entry), acts), below = log.querySelector('.moving');
    e.classList.add('new');
    if (below) below.before(e); else log.append(e);
    drawn.ids.push(name(entry));
  }
  if (end || c.entries[c.entries.length - 1].mine) toEnd(); else $('down').hidden = false;
}
const sameDay = (before, entry) => before && day(before.at) === day(entry.at) ? before : null;

let listSoon;
function drawListSoon() { listSoon ??= requestAnimationFrame(() => { listSoon = null; drawList(); }); }

// --- moving about --------------------------------------------------------------------------------

export async function show(key, title, focus) {
  const c = conversation(key, title);
  const old = state.conversations.get(state.open);
  if (old) old.draft = $('text').value;
  if (state.open !== key) { $('text').value = c.draft; fit(); }
  state.open = key;
  $('app').classList.add('open');
  if (location.hash !== '#' + encodeURIComponent(key)) history_push(key);
  looked();
  drawHead(); drawLog(); drawList();
  if (isRoom(key)) rooms().then(drawHead);
  if (focus && matchMedia('(pointer: fine)').matches) $('text').focus(); else if (focus) $('scroll').focus({ preventScroll: true });
  if (!c.loaded || c.stale) await history(c);
}
/** The conversation that the address names; what is no such name, as in a link from elsewhere, is none. */
const asked = () => { try { return decodeURIComponent(location.hash.slice(1)); } catch { return ''; } };
const history_push = key => window.history[window.history.state?.chat ? 'replaceState' : 'pushState']({ chat: true }, '', '#' + encodeURIComponent(key));

function closeChat() {
  const key = state.open;
  const c = state.conversations.get(key);
  if (c) c.draft = $('text').value;
  $('app').classList.remove('open');
  if (!matchMedia('(min-width: 760px)').matches) { state.open = null; drawn = { key: null, ids: [] }; }
  drawList();
  $('list').querySelector(`[data-key="${CSS.escape(key || LOBBY)}"]`)?.focus();
}

/** Tells a linked author what was read; the node says so only where both boxes allow it. */
function markRead(c) {
  const newest = c.entries.findLast(e => !e.mine)?.id;
  if (!newest || c.marked === newest || !state.people.get(c.key)?.dialect.includes('link')) return;
  c.marked = newest;
  net.call('MarkRead', { with: c.title }).catch(() => {});
}

/** What is open and looked at is read. */
function looked() {
  const c = state.conversations.get(state.open);
  if (c && document.visibilityState === 'visible') {
    if (c.unread) { c.unread = 0; drawList(); }
    markRead(c);
  }
  noticed();
}

// --- what is kept by the node --------------------------------------------------------------------

/** The newest entries of all conversations: the list as it was before. */
async function recent() {
  try {
    const { entries } = await net.read('History', { limit: 200 });
    for (const e of entries) put(entryOf(e, true), true);
    drawList();
    return entries.length;
  } catch { return 0; }
}

async function history(c, newest) {
  if (c.loading) return;
  c.loading = true;
  try {
    const oldest = newest || !c.loaded || c.stale ? undefined : c.entries.find(e => e.order !== null)?.order;
    const { entries, more } = await net.read('History', { with: c.key === LOBBY ? LOBBY : c.title, before: oldest, limit: PAGE });
    for (const e of entries) put(entryOf(e, true), true);
    if (oldest !== undefined || !c.loaded) c.more = more;
    c.loaded = true; c.stale = false;
    if (c.key === state.open) drawLog(oldest !== undefined);
  } catch (error) {
    if (error instanceof net.Refused) { c.loaded = true; c.more = false; if (c.key === state.open) drawLog(); }
  }
  c.loading = false;
}

let found = null, searchSoon;
function search() {
  clearTimeout(searchSoon);
  found = null;
  drawList();
  const words = $('search').value.trim();
  if (words.length < 2) return;
  searchSoon = setTimeout(async () => {
    try { found = (await net.read('Search', { words, limit: 50 })).entries.map(e => entryOf(e, true)).reverse(); } catch { found = []; }
    drawList();
  }, 300);
}

function hit(entry) {
  return el('button', { type: 'button', className: 'item', 'data-key': 'hit' + entry.id, onclick: () => jump(entry) },
    face(el('span', { 'aria-hidden': 'true' }), entry.from),
    el('span', { className: 'who' }, el('span', { className: 'top' }, el('strong', {}, entry.from), el('time', {}, shortDay(entry.at))), el('small', {}, preview(entry))));
}

async function jump(entry) {
  await show(entry.key, undefined, false);
  const c = state.conversations.get(entry.key);
  for (let n = 0; n < 40 && !find(c, entry.id) && c.more; n++) await history(c);
  const e = $('log').querySelector(`[data-id="${CSS.escape(entry.id)}"]`);
  if (!e) return;
  e.scrollIntoView({ block: 'center' });
  e.classList.add('found');
  setTimeout(() => e.classList.remove('found'), 2500);
}

// --- sending -------------------------------------------------------------------------------------

function keepQueue() {
  kept.set('queue', { me: state.me?.id, texts: state.queue.filter(e => e.text !== undefined).map(e => ({ client: e.client, key: e.key, to: e.target, text: e.text, at: e.at })) });
}

function fresh(key) {
  const c = conversation(key);
  const random = crypto.getRandomValues(new Uint8Array(16));
  return { client: [...random].map(b => b.toString(16).padStart(2, '0')).join(''), key, target: key === LOBBY ? LOBBY : c.title, from: state.me.handle, mine: true, at: Date.now(), order: null, id: null, to: new Map(), state: 'waiting' };
}

function say(text) {
  const entry = fresh(state.open);
  entry.text = text;
  const c = conversation(entry.key);
  c.entries.push(entry); c.last = entry.at;
  state.queue.push(entry);
  keepQueue();
  redraw(entry.key);
  flush();
}

/** Sends what waits, in the order it was written. What the way swallowed is sent again under the
 * same key, which the node carries out once. */
let flushing = false;
async function flush() {
  if (flushing || !state.online) return;
  flushing = true;
  while (state.online) {
    const entry = state.queue.find(e => e.state === 'waiting' && !e.upload);
    if (!entry) break;
    entry.sending = true;
    try {
      const answer = entry.upload_id
        ? await net.call('SendFile', { to: [entry.target], upload: entry.upload_id }, entry.client)
        : await net.call('Send', { to: [entry.target], text: entry.text }, entry.client);
      const c = conversation(entry.key), id = answer.receipts[0]?.id;
      const twin = id && find(c, id);
      if (twin && twin !== entry) c.entries = c.entries.filter(e => e !== entry);
      const whole = twin || entry;
      if (id) whole.id = id; else whole.id = entry.client;
      for (const r of answer.receipts) fated(whole, r.peer, { handle: r.recipient, state: r.state, reason: r.reason });
      done(entry);
      redraw(entry.key);
    } catch (error) {
      entry.sending = false;
      if (error instanceof net.Refused && error.status === 401) { state.online = false; break; }
      if (error instanceof net.Refused && error.status !== 429 && error.status < 500) {
        entry.state = 'failed';
        entry.reason = error.message;
        keepQueue();
      } else {
        await new Promise(later => setTimeout(later, 1500));
      }
      redraw(entry.key, entry);
    }
  }
  flushing = false;
}

let uploading = Promise.resolve();
async function sendFile(file, key = state.open) {
  const most = state.session.limits.upload;
  if (file.size > most) return toast(t('tooLarge', bytes(most)));
  const entry = fresh(key);
  entry.source = file;
  entry.stop = new AbortController();
  entry.upload = { name: file.name || t('picture'), size: file.size, done: 0 };
  const c = conversation(entry.key);
  c.entries.push(entry); c.last = entry.at;
  redraw(entry.key);
  try {
    // one after the other: a guest has few uploads at once
    const mine = uploading.then(() => net.upload(file, p => { entry.upload.done = p; if (entry.upload.bar) entry.upload.bar.value = p; }, entry.stop.signal));
    uploading = mine.catch(() => {});
    entry.upload_id = await mine;
    entry.file = { name: entry.upload.name, size: file.size, format: 'unknown' };
    delete entry.upload; delete entry.source;
    state.queue.push(entry);
    redraw(entry.key, entry);
    flush();
  } catch (error) {
    if (entry.stop.signal.aborted) return;
    delete entry.upload;
    entry.file = { name: file.name, size: file.size, format: 'unknown' };
    entry.state = 'failed'; entry.reason = error instanceof net.Refused ? error.message : t('failedTo');
    redraw(entry.key, entry);
  }
}
const sendFiles = files => { for (const file of [...files].slice(0, 20)) if (file.size) sendFile(file); };

// --- pictures ------------------------------------------------------------------------------------

let shown = null;
const pictures = () => (state.conversations.get(state.open)?.entries || []).filter(e => e.file?.url && e.file.format !== 'unknown');
function lightbox(entry) {
  shown = entry;
  const all = pictures(), n = all.indexOf(entry);
  $('big').src = entry.file.url;
  $('big').alt = t('pictureFrom', entry.mine ? t('you') : entry.from);
  $('big-about').textContent = (entry.mine ? t('you') : entry.from) + ' · ' + clock(entry.at) + ' · ' + bytes(entry.file.size);
  $('big-save').href = entry.file.url;
  $('big-save').download = entry.file.name || 'klatsch-' + entry.id + '.' + (entry.file.format === 'jpeg' ? 'jpg' : entry.file.format);
  $('prev').style.visibility = n > 0 ? 'visible' : 'hidden';
  $('next').style.visibility = n < all.length - 1 ? 'visible' : 'hidden';
  if (!$('box').open) $('box').showModal();
}
function turn(by) { const all = pictures(), n = all.indexOf(shown) + by; if (all[n]) lightbox(all[n]); }

// --- the field -----------------------------------------------------------------------------------

const fit = () => { const f = $('text'); f.style.height = 'auto'; f.style.height = Math.min(f.scrollHeight, 150) + 'px'; };
function submit() {
  const text = $('text').value.trim();
  if (!text || !state.open) return;
  $('text').value = ''; conversation(state.open).draft = '';
  fit();
  say(text);
}
const EMOJI = ['😀', '😂', '😊', '😍', '😎', '🤔', '😢', '😡', '👍', '👎', '👋', '🙏', '👏', '💪', '❤️', '🎉', '🔥', '✅', '☕', '🍕', '🍺', '🚀', '🐱', '🌞'];

function wire() {
  $('compose').addEventListener('submit', e => { e.preventDefault(); submit(); });
  $('text').addEventListener('input', fit);
  $('text').addEventListener('keydown', e => {
    if (e.key === 'Enter' && !e.shiftKey && !e.isComposing && matchMedia('(pointer: fine)').matches) { e.preventDefault(); submit(); }
  });
  $('text').addEventListener('paste', e => { const files = [...e.clipboardData.files]; if (files.length) { e.preventDefault(); sendFiles(files); } });
  $('attach').addEventListener('click', () => $('file').click());
  $('file').addEventListener('change', () => { sendFiles($('file').files); $('file').value = ''; });
  $('emoji').append(...EMOJI.map(c => el('button', { type: 'button', 'aria-label': c, onclick: () => { const f = $('text'); f.setRangeText(c, f.selectionStart, f.selectionEnd, 'end'); f.focus(); smile(false); fit(); } }, c)));
  const smile = open => { $('emoji').hidden = !open; $('smile').setAttribute('aria-expanded', String(open)); if (open) $('emoji').firstElementChild.focus(); };
  $('smile').addEventListener('click', () => smile($('emoji').hidden));
  $('emoji').addEventListener('keydown', e => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 6, ArrowUp: -6 }[e.key];
    if (step) { e.preventDefault(); [...$('emoji').children][[...$('emoji').children].indexOf(document.activeElement) + step]?.focus(); }
    if (e.key === 'Escape') { e.stopPropagation(); smile(false); $('smile').focus(); }
  });
  let drags = 0;
  const files = e => [...e.dataTransfer.types].includes('Files');
  $('chat').addEventListener('dragenter', e => { if (files(e)) { drags++; $('drop').hidden = false; } });
  $('chat').addEventListener('dragleave', e => { if (files(e) && --drags <= 0) { drags = 0; $('drop').hidden = true; } });
  addEventListener('dragover', e => e.preventDefault());
  addEventListener('drop', e => { e.preventDefault(); drags = 0; $('drop').hidden = true; if (state.open) sendFiles(e.dataTransfer.files); });
  $('back').addEventListener('click', () => window.history.state?.chat ? window.history.back() : closeChat());
  addEventListener('popstate', () => { const key = asked(); if (key && state.conversations.has(key)) show(key); else closeChat(); });
  $('down').addEventListener('click', () => { toEnd(); $('text').focus(); });
  $('scroll').addEventListener('scroll', () => {
    $('down').hidden = atEnd();
    const c = state.conversations.get(state.open);
    if ($('scroll').scrollTop < 200 && c?.more && c.loaded && !c.loading) history(c);
    if (atEnd()) looked();
  }, { passive: true });
  $('search').addEventListener('input', search);
  $('search').addEventListener('keydown', e => { if (e.key === 'Escape' && $('search').value) { e.stopPropagation(); $('search').value = ''; search(); } if (e.key === 'ArrowDown') { e.preventDefault(); $('list').querySelector('button')?.focus(); } });
  $('list').addEventListener('keydown', e => {
    const all = [...$('list').querySelectorAll('button')], n = all.indexOf(document.activeElement);
    const to = { ArrowDown: n + 1, ArrowUp: n - 1, Home: 0, End: all.length - 1 }[e.key];
    if (to !== undefined) { e.preventDefault(); (all[to] || (to < 0 ? $('search') : null))?.focus(); }
  });
  $('box').addEventListener('keydown', e => { if (e.key === 'ArrowLeft') turn(-1); if (e.key === 'ArrowRight') turn(1); });
  $('prev').addEventListener('click', () => turn(-1));
  $('next').addEventListener('click', () => turn(1));
  $('box').addEventListener('click', e => { if (e.target.tagName === 'FIGURE') $('box').close(); });
  addEventListener('keydown', e => {
    if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === 'k') { e.preventDefault(); if ($('app').classList.contains('open') && !matchMedia('(min-width: 760px)').matches) closeChat(); $('search').focus(); }
    if (e.altKey && (e.key === 'ArrowUp' || e.key === 'ArrowDown')) {
      e.preventDefault();
      const all = [...$('list').querySelectorAll('.item')], n = all.findIndex(i => i.dataset.key === state.open);
      all[n + (e.key === 'ArrowDown' ? 1 : -1)]?.click();
    }
    if (e.key === 'Escape' && !document.querySelector('dialog[open]') && !matchMedia('(min-width: 760px)').matches && state.open) $('back').click();
  });
  addEventListener('visibilitychange', () => { if (document.visibilityState === 'visible') { events?.hurry(); if (atEnd()) looked(); } });
  addEventListener('focus', () => { if (atEnd()) looked(); });
  addEventListener('online', () => events?.hurry());
}

// --- coming and going ----------------------------------------------------------------------------

let events = null;
function way(now, fresh) {
  if (now === 'refused') { state.online = false; return begin(fresh); }
  state.online = now === 'open';
  $('link-state').textContent = state.online ? t('connected') : t('connecting');
  $('offline').hidden = state.online;
  $('offline').textContent = t('offline');
  if (state.online) flush();
}

async function enterChat(session) {
  state.session = session; state.me = session.guest;
  $('door').hidden = true; $('app').hidden = false;
  conversation(LOBBY);
  drawMe(); drawList();
  const waiting = kept.get('queue');
  if (waiting && waiting.me === state.me.id && !state.queue.length) {
    for (const q of waiting.texts) {
      const entry = { ...fresh(q.key), client: q.client, target: q.to, text: q.text, at: q.at };
      conversation(q.key).entries.push(entry); state.queue.push(entry);
    }
  }
  for (const e of session.transfers || []) transfer(e);
  events?.close();
  events = new net.Events(told, way);
  events.since = session.last;
  await recent();
  events.open();
  const key = asked();
  if (key) show(key, key); else if (matchMedia('(min-width: 760px)').matches) show(LOBBY);
}

/** The door: who has no name yet gets one here. */
function begin(session) {
  state.session = session;
  events?.close();
  $('app').hidden = true; $('door').hidden = false;
  $('pin-row').hidden = !session.pin;
  $('door-note').textContent = session.open ? '' : t('closedDoor');
  $('name').value = kept.get('name') || '';
  $('name').focus();
}

async function knock(e) {
  e.preventDefault();
  const name = $('name').value.trim().replace(/\s+/g, '-');
  if (!name) { $('door-note').textContent = t('noName'); return $('name').focus(); }
  try {
    const session = await net.enter(name, $('pin').value || undefined);
    kept.set('name', session.guest.handle);
    await enterChat(session);
  } catch (error) {
    const free = error.parameters?.free;
    $('door-note').textContent = error.code === 'HandleTaken' ? t('nameTaken', free) : error.status === 401 ? t('pinWrong') : error.message;
    if (error.status === 401) { $('pin-row').hidden = false; $('pin').focus(); }
    if (error.code === 'HandleTaken') { $('name').value = free; $('name').focus(); }
  }
}

export async function leave() {
  await net.leave().catch(() => {});
  events?.close(); kept.set('queue', null);
  location.hash = ''; location.reload();
}

async function start() {
  const theme = kept.get('theme');
  if (theme) document.documentElement.dataset.theme = theme;
  speak(kept.get('lang'));
  wire(); setUp();
  $('enter').addEventListener('submit', knock);
  for (let pause = 500; ; pause = Math.min(pause * 2, 8000)) {
    try {
      const session = await net.session();
      return session.guest ? await enterChat(session) : begin(session);
    } catch { $('door').hidden = false; $('door-note').textContent = t('connecting'); await new Promise(later => setTimeout(later, pause)); }
  }
}

start();
