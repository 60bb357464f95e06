// How things look: every text from outside goes into the document as text, never as markup.

import { t, lang } from './words.js';

export const $ = id => document.getElementById(id);

/** An element with properties and children; strings become text nodes. */
export function el(tag, properties = {}, ...children) {
  const e = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key in e && !key.includes('-')) e[key] = value; else e.setAttribute(key, value);
  }
  e.append(...children.filter(c => c !== null && c !== undefined && c !== ''));
  return e;
}

const SVG = 'http://www.w3.org/2000/svg';
export function icon(path) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24'); svg.setAttribute('class', 'i'); svg.setAttribute('aria-hidden', 'true');
  const line = document.createElementNS(SVG, 'path');
  line.setAttribute('d', path); svg.append(line);
  return svg;
}

/** Paints a face: the first letters of a name on a colour made of it, and presence. */
export function face(e, name, presence) {
  const letters = [...name.replace(/@.*$/, '')].filter(c => /[\p{L}\p{N}]/u.test(c));
  let hash = 0;
  for (const c of name.toLowerCase()) hash = (hash * 31 + c.codePointAt(0)) >>> 0;
  e.className = 'face ' + (name === '#' ? 'all' : 'h' + hash % 8);
  e.textContent = name === '#' ? '' : letters.slice(0, 2).join('').toUpperCase() || '?';
  if (name === '#') e.append(icon('M16 19v-1.500a4 4 0 0 0-4-4H7a4 4 0 0 0-4 4V19M9.500 10a3 3 0 1 0 0-6 3 3 0 0 0 0 6M21 19v-1.500a4 4 0 0 0-3-3.800M15.500 4.200a3 3 0 0 1 0 5.700'));
  if (presence) e.dataset.p = presence; else delete e.dataset.p;
  return e;
}

const LINK = /\bhttps?:\/\/[^\s<>"'`{}|\\^]+/gi;

/** A text with its web addresses as links that tell the other site nothing. */
export function linked(text) {
  const out = document.createDocumentFragment();
  let at = 0;
  for (const hit of text.matchAll(LINK)) {
    let link = hit[0].replace(/[.,;:!?)\]]+$/, '');
    if (hit[0].startsWith(link + ')') && link.includes('(')) link += ')';
    let url;
    try { url = new URL(link); } catch { continue; }
    if (!/^https?:$/.test(url.protocol) || url.username || url.password) continue;
    out.append(text.slice(at, hit.index), el('a', { href: url.href, rel: 'noopener noreferrer nofollow', target: '_blank', title: url.host }, link));
    at = hit.index + link.length;
  }
  out.append(text.slice(at));
  return out;
}

/** A download address of this very box within a text: `{url, name}`. */
export function ownFile(text) {
  const hit = text.match(/\bhttps?:\/\/[^\s/]+\/d\/([0-9a-f]{32})\/([^\s/]+)/);
  if (!hit) return null;
  let name = hit[2];
  try { name = decodeURIComponent(name); } catch { /* as it stands */ }
  return { url: '/d/' + hit[1] + '/' + hit[2], name };
}

const emojiOnly = /^(?:\p{Extended_Pictographic}|\p{Emoji_Component}|[\u200d\ufe0f\s])+$/u;
export const isJumbo = text => text.length <= 24 && /\p{Extended_Pictographic}/u.test(text) && emojiOnly.test(text);

/** Dates and times as the reader's own region writes them, in the page's language. */
const region = () => navigator.language.toLowerCase().startsWith(lang) ? navigator.language : lang;
export const bytes = n => n < 1000 ? n + ' B' : n < 1e6 ? Math.round(n / 1e3) + ' kB' : (n / 1e6).toLocaleString(region(), { maximumFractionDigits: 1 }) + ' MB';
export const clock = at => new Date(at).toLocaleTimeString(region(), { hour: '2-digit', minute: '2-digit' });
export function day(at) {
  const date = new Date(at), now = new Date();
  const days = Math.round((new Date(now.getFullYear(), now.getMonth(), now.getDate()) - new Date(date.getFullYear(), date.getMonth(), date.getDate())) / 864e5);
  if (days === 0) return t('today');
  if (days === 1) return t('yesterday');
  return date.toLocaleDateString(region(), { weekday: 'long', day: 'numeric', month: 'long', year: date.getFullYear() === now.getFullYear() ? undefined : 'numeric' });
}
export const shortDay = at => day(at) === t('today') ? clock(at) : day(at) === t('yesterday') ? t('yesterday') : new Date(at).toLocaleDateString(region(), { day: 'numeric', month: 'numeric' });

/** A line that passes by at the lower edge. */
export function toast(text) {
  const e = el('div', { className: 'toast' }, text);
  $('toasts').append(e);
  setTimeout(() => e.remove(), 5000);
}

/** What became of something sent, in a word and a mark: `{word, mark, bad}`. */
export function fate(entry) {
  if (entry.state) return { word: entry.reason || t(entry.state === 'failed' ? 'failedTo' : 'waiting'), mark: entry.state === 'failed' ? '!' : '◷', bad: entry.state === 'failed' };
  const all = [...entry.to.values()];
  const count = state => all.filter(r => r.state === state || state === 'delivered' && r.state === 'read').length;
  const bad = all.find(r => r.state === 'failed');
  if (!all.length) return { word: '', mark: '' };
  if (bad && count('failed') === all.length) return { word: t('failed') + (bad.reason ? ': ' + bad.reason : ''), mark: '!', bad: true };
  if (bad) return { word: t('failed') + ': ' + all.filter(r => r.state === 'failed').map(r => r.handle).join(', '), mark: '!', bad: true };
  if (count('queued')) return { word: t('queued') + (all.length === 1 && all[0].reason ? ': ' + all[0].reason : ''), mark: '◷' };
  if (count('read') === all.length) return { word: t('readBy'), mark: '✓✓', done: true, read: true };
  if (count('delivered') === all.length) return { word: t('delivered'), mark: '✓✓', done: true };
  if (count('delivered')) return { word: t('partly', count('delivered'), all.length), mark: '✓' };
  return { word: t('sent'), mark: '✓' };
}

const FILE = 'M14 3H7a2 2 0 0 0-2 2v14a2 2 0 0 0 2 2h10a2 2 0 0 0 2-2V8zM14 3v5h5M12 12v5M9.500 14.500 12 17l2.500-2.500';
const STOP = 'M6 6l12 12M18 6L6 18';

/** One entry as an element; `acts` are what can be done with it. */
export function message(entry, before, acts) {
  const first = !before || before.from !== entry.from || before.mine !== entry.mine || entry.at - before.at > 300000 || !!entry.auto !== !!before.auto;
  const e = el('div', { className: 'msg' + (entry.mine ? ' mine' : '') + (first ? ' first' : ''), 'data-id': entry.id || entry.key });
  const by = entry.mine ? t('you') : entry.from;
  e.append(el('span', { className: 'by' + (entry.mine ? ' sr' : '') }, by + (entry.auto ? ' · ' + t('auto') : '')));
  e.append(body(entry, acts));
  const meta = el('span', { className: 'meta' }, el('time', { dateTime: new Date(entry.at).toISOString(), title: new Date(entry.at).toLocaleString(region()) }, entry.undated ? '–' : clock(entry.at)));
  if (entry.mine) {
    const f = fate(entry);
    if (f.mark) meta.append(el('span', { className: f.bad ? 'bad' : f.read ? 'ticks done read' : f.done ? 'ticks done' : f.mark === '◷' ? 'wait' : 'ticks', 'aria-hidden': 'true', title: f.word }, f.mark), f.bad ? el('span', { className: 'bad' }, f.word) : el('span', { className: 'sr' }, f.word));
    if (entry.state === 'failed') meta.append(el('button', { type: 'button', onclick: () => acts.again(entry) }, t('again')), el('button', { type: 'button', onclick: () => acts.discard(entry) }, t('discard')));
  }
  e.append(meta);
  return e;
}

/** A file offered or on its way over the link. */
export function moving(e, acts) {
  const mine = e.direction === 'out', about = e.state === 'offered' ? t(mine ? 'waitsAnswer' : 'offered') : t({ waiting: 'waiting', paused: 'paused', running: 'running' }[e.state] || 'ended');
  const act = (word, method, className) => el('button', { type: 'button', className: className || '', 'aria-label': t(word) + ' ' + e.name, onclick: () => acts.transfer(method, e) }, t(word));
  return el('div', { className: 'msg first moving' + (mine ? ' mine' : ''), 'data-id': 'transfer-' + e.id },
    el('span', { className: 'by' }, mine ? t('you') : t('wantsToSend', e.handle)),
    el('div', { className: 'bubble' }, el('div', { className: 'file' }, icon(FILE), el('span', {}, el('strong', {}, e.name), el('small', {}, (e.size ? bytes(e.done) + ' / ' + bytes(e.size) : bytes(e.done)) + ' · ' + about + (e.reason ? ': ' + e.reason : '')),
      e.size ? el('progress', { max: e.size, value: e.done, 'aria-label': e.name }) : null))),
    e.state === 'failed' || e.number === null ? null : el('span', { className: 'meta' }, ...(e.state === 'offered' && !mine ? [act('accept', 'Accept'), act('refuse', 'Refuse')] : [e.state === 'paused' ? act('goOn', 'Resume') : e.state === 'running' ? act('pause', 'Pause') : null, act('cancel', 'Cancel')])));
}

function body(entry, acts) {
  if (entry.upload) {
    const bar = el('progress', { max: 1, value: entry.upload.done, 'aria-label': entry.upload.name });
    entry.upload.bar = bar;
    return el('div', { className: 'bubble' }, el('div', { className: 'file' }, icon(FILE), el('span', {}, el('strong', {}, entry.upload.name), el('small', {}, bytes(entry.upload.size)), bar),
      el('button', { type: 'button', className: 'icon', 'aria-label': t('cancel'), onclick: () => acts.discard(entry) }, icon(STOP))));
  }
  if (entry.file && entry.file.url && /^(png|jpeg|gif|webp|bmp)$/.test(entry.file.format)) {
    const img = el('img', { src: entry.file.url, alt: t('pictureFrom', entry.mine ? t('you') : entry.from), loading: 'lazy', decoding: 'async' });
    const { width: w, height: h } = entry.file;
    if (w && h && w < 20000 && h < 20000) { const k = Math.min(1, 340 / Math.max(w, h)); img.width = Math.max(1, Math.round(w * k)); img.height = Math.max(1, Math.round(h * k)); }
    const frame = el('div', { className: 'bubble pic' }, el('button', { type: 'button', onclick: () => acts.picture(entry) }, img));
    img.onerror = () => frame.replaceChildren(el('span', {}, t('picture') + ': ' + t('expired')));
    return frame;
  }
  const file = entry.file || ownFile(entry.text || '');
  if (file && file.format === 'folder' && file.url) {
    const list = el('ul', { className: 'within', hidden: true });
    const look = el('button', { type: 'button', className: 'file', 'aria-expanded': 'false', onclick: () => acts.look(file, look, list) }, icon(FILE), el('span', {}, el('strong', {}, file.name), el('small', {}, t('folder') + ' · ' + bytes(file.size))));
    return el('div', { className: 'bubble' }, look, list);
  }
  if (file) return el('div', { className: 'bubble' }, saving(file, acts));
  return el('div', { className: 'bubble' + (isJumbo(entry.text) ? ' jumbo' : '') }, linked(entry.text));
}

/** The button that saves a file. */
export function saving(file, acts) {
  const bar = el('progress', { max: 1, value: 0, hidden: true, 'aria-label': file.name });
  const about = el('small', {}, file.size ? bytes(file.size) : t('saveFile'));
  return el('button', { type: 'button', className: 'file', onclick: () => acts.save(file, bar, about) }, icon(FILE), el('span', {}, el('strong', {}, file.name || t('picture')), about, bar));
}
