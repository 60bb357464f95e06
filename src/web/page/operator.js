// The operator's page: what the node is doing, who its guests are, and what may be changed.

import { $, el, bytes } from './view.js';
import * as net from './net.js';
import { t, speak, learn } from './words.js';
import { desk } from './desk.js';

const say = text => { $('said').textContent = text; };
async function doing(act, word) {
  try { const done = await act(); say(typeof word === 'function' ? word(done) : word || ''); await draw(); } catch (error) { say(error.message || t('cut')); if (error.status === 401) door(); }
}

async function door() {
  const { operator, set } = await net.get('operator');
  $('desk').hidden = !operator; $('door').hidden = operator;
  $('unset').hidden = set; $('enter').hidden = !set;
  if (operator) { await draw(); await examine(); } else $('pin').focus();
}

const pair = (name, value) => [el('dt', {}, name), el('dd', {}, value)];
const button = (name, about, act, className) => el('button', { type: 'button', className: className || '', 'aria-label': name + ' ' + about, onclick: act }, name);
const lines = (id, list, none) => $(id).replaceChildren(...(list.length ? list : [el('li', {}, none)]));
const rows = (id, list, none) => $(id).replaceChildren(...(list.length ? list : [el('tr', {}, el('td', { colSpan: 4 }, none))]));

async function draw() {
  const [status, guests, moving, who, config] = await Promise.all([net.read('Status'), net.get('guests'), net.get('transfers'), net.call('Who', { gone: true }), net.call('Config')]);
  const set = new Map(config.settings.map(s => [s.key, s]));
  $('version').textContent = status.version;
  const own = new Set(status.users.filter(u => !u.guest).map(u => u.handle));
  const hours = Math.floor(status.uptime / 3600), minutes = Math.floor(status.uptime / 60) % 60;
  $('node').replaceChildren(...pair(t('users'), status.users.filter(u => !u.guest).map(u => u.handle).join(', ')), ...pair(t('up'), hours + ' h ' + minutes + ' min'),
    ...pair(t('page'), status.page || t('noAddress')), ...pair(t('networks'), status.links.map(l => l.name + ' ' + l.address).join(', ') || '–'),
    ...pair(t('peopleHere'), String(status.peers)), ...status.dialects.flatMap(d => pair(d.name, t(d.on ? 'on' : 'off') + ', ' + t('port') + ' ' + d.port + (d.reason ? ': ' + d.reason : ''))),
    ...pair(t('uploads'), bytes(guests.uploads.bytes) + ' ' + t('of') + ' ' + bytes(guests.uploads.quota)));
  $('open').checked = set.get('web.open')?.value === 'on';
  rows('guests', guests.guests.map(g => el('tr', {}, el('td', {}, g.handle), el('td', {}, g.address), el('td', {}, t(g.here ? g.away ? 'away' : 'online' : 'gone') + (g.muted ? ', ' + t('isMuted') : '')),
    el('td', {}, ...[g.muted ? 'unmute' : 'mute', 'kick', 'ban'].map(act => button(t(act), g.handle, () => (act !== 'ban' || confirm(t('banSure', g.handle, g.address))) && doing(() => net.post('guests/' + g.id, { act }), g.handle + ': ' + t(act))))))), t('noGuests'));
  lines('banned', guests.banned.map(ip => el('li', {}, ip + ' ', button(t('lift'), ip, () => doing(() => net.del('bans/' + encodeURIComponent(ip)))))), t('none'));
  rows('peers', who.peers.filter(p => p.dialect[0] !== 'local' && !p.blocked).slice(0, 300).map(p => el('tr', {}, el('td', {}, p.name), el('td', {}, p.address + ':' + p.port + ' ' + p.dialect.join(', ')), el('td', {}, t(p.presence)),
    el('td', {}, button(t('block'), p.name, () => doing(() => net.call('Block', { handle: p.name })))))), t('nobody'));
  lines('blocked', status.blocked.map(name => el('li', {}, name + ' ', button(t('unblock'), name, () => doing(() => net.call('Unblock', { handle: name }))))), t('none'));
  lines('transfers', [...moving.uploads.map(u => el('li', {}, u.guest + ' ' + t('sends') + ' ' + bytes(u.done) + ' ' + t('of') + ' ' + bytes(u.size) + ' ', stop(u.id, u.guest))),
    ...moving.downloads.map(d => el('li', {}, d.address + ' ' + t('fetches') + ' ', stop(d.id, d.address))),
    ...status.transfers.map(f => el('li', {}, moves(f) + ' ', own.has(f.user) ? button(t('cancel'), f.name, () => doing(() => net.call('Cancel', { number: f.number, user: f.user }))) : null)),
    ...[...transfers.values()].filter(f => f.number === null || f.state === 'done' || f.state === 'failed').slice(-20).map(one)], t('none'));
  $('updating').hidden = set.get('appliance')?.value !== 'on';
  if (!$('keep').contains(document.activeElement)) kept(set);
  if (!$('settings').contains(document.activeElement)) $('settings').replaceChildren(...config.settings.filter(s => s.live && !KEEPING.includes(s.key)).map(setting));
}

const stop = (id, about) => button(t('cancel'), about, () => doing(() => net.del('transfers/' + encodeURIComponent(id))));
const moves = e => t(e.direction === 'in' ? 'from' : 'to') + ' ' + e.handle + ': ' + e.name + ', ' + bytes(e.done) + (e.size ? ' ' + t('of') + ' ' + bytes(e.size) : '') + ', ' + t(e.state) + (e.reason ? ' (' + e.reason + ')' : '');
const one = e => el('li', { className: e.state === 'failed' ? 'bad' : '' }, moves(e));

/** What takes longer to find out than the rest. */
async function examine() {
  const doctor = await net.call('Doctor');
  const found = doctor.findings.filter(f => f.health !== 'ok').map(f => el('li', { className: f.health === 'wrong' ? 'bad' : '' }, f.check + ': ' + f.text + (f.advice ? ' → ' + f.advice : '')));
  lines('findings', found.concat(troubles.slice(-20).map(text => el('li', { className: 'bad' }, text))), t('fine'));
}

const KEEPING = ['history.keep', 'history.entries', 'history.bytes', 'files.quota', 'files.when-full', 'outbox.keep', 'web.quota'];
const SPANS = { nothing: 'nothing', '1h': 'hour', '1day': 'day', '7days': 'week', '30days': 'month', '365days': 'year', forever: 'forever' };
function kept(set) {
  const now = set.get('history.keep').value;
  const spans = Object.keys(SPANS);
  if (!spans.includes(now)) spans.push(now);
  $('keep').replaceChildren(...spans.map(span => el('option', { value: span, selected: span === now }, SPANS[span] ? t(SPANS[span]) : span)));
  if (!$('keeping').contains(document.activeElement)) $('keeping').replaceChildren(...KEEPING.slice(1).map(key => set.get(key)).filter(Boolean).map(setting));
}

function setting(s) {
  const id = 'set-' + s.key.replace(/\W/g, '-'), secret = /pin$/.test(s.key), onoff = s.value === 'on' || s.value === 'off';
  const input = onoff ? el('select', { id }, ...['on', 'off'].map(v => el('option', { value: v, selected: s.value === v }, v)))
    : el('input', { id, value: secret ? '' : s.value, placeholder: secret && s.value ? t('isSet') : '', type: secret ? 'password' : 'text', autocomplete: 'off', spellcheck: false });
  const save = value => doing(() => net.call('Config', { key: s.key, value }), t('isNow', s.key));
  if (onoff) input.addEventListener('change', () => save(input.value));
  return el('div', {}, el('label', { htmlFor: id }, s.key, ' ', el('small', {}, s.help)),
    el('form', { onsubmit: e => { e.preventDefault(); if (!secret || input.value) save(input.value); } }, input, onoff ? null : el('button', { 'aria-label': t('save') + ' ' + s.key }, t('save')),
      secret && s.value ? button(t('remove'), s.key, () => save(''), 'quiet') : null));
}

const troubles = [], transfers = new Map();
let soon = null;
const events = new net.Events(event => {
  if (event.kind === 'error') { troubles.push(event.text); if (troubles.length > 50) troubles.shift(); examine().catch(() => {}); }
  if (event.kind === 'transfer') { transfers.set(event.id + event.peer, event); if (transfers.size > 50) transfers.delete(transfers.keys().next().value); }
  soon ??= setTimeout(() => { soon = null; if (!$('desk').hidden) draw().catch(() => {}); }, 400);
}, state => { if (state === 'cut') say(t('cut')); if (state === 'open') say(''); }, 'operator=1');
// the operator is no guest: the way is tried again as long as the page is open
events.again = function () { this.close(); this.state('cut'); this.retry = setTimeout(() => net.get('operator').then(o => o.operator ? this.open() : door()).catch(() => this.again()), 2000); };

$('enter').addEventListener('submit', async e => {
  e.preventDefault();
  try { await net.post('operator', { pin: $('pin').value }); $('pin').value = ''; $('note').textContent = ''; await door(); events.open(); } catch (error) { $('note').textContent = error.message || t('cut'); }
});
$('out').addEventListener('click', async () => { events.close(); await net.del('operator'); location.reload(); });
$('refresh').addEventListener('click', () => doing(examine));
$('open').addEventListener('change', () => doing(() => net.call('Config', { key: 'web.open', value: $('open').checked ? 'on' : 'off' })));
$('keep').addEventListener('change', () => doing(() => net.call('Config', { key: 'history.keep', value: $('keep').value }), t('isNow', 'history.keep')));
const forget = what => confirm(t('forgetSure')) && doing(() => net.call('Delete', what), ({ count }) => t('forgot', count));
$('forget-room').addEventListener('click', () => forget({ with: '#lobby' }));
$('forget-all').addEventListener('click', () => forget({ all: true }));
$('restart').addEventListener('click', () => confirm(t('restartSure')) && doing(() => net.post('restart', {}), t('restarts')));

$('install').addEventListener('submit', async e => {
  e.preventDefault();
  const file = $('bundle').files[0];
  if (!file || !confirm(t('updateSure'))) return;
  $('up-bar').hidden = false;
  try { const { lines } = await net.send('update', file, p => { $('up-bar').value = p; }); $('up-said').textContent = lines.join(' ') || t('done'); } catch (error) { $('up-said').textContent = error.message || t('cut'); }
  $('up-bar').hidden = true;
});

learn(desk);
let chosen = null;
try { chosen = JSON.parse(localStorage.getItem('klatsch.lang')); } catch { /* forbidden */ }
speak(chosen);
await door();
if (!$('desk').hidden) events.open();
