// The page's words in the languages it speaks; the browser's language chooses, a person may too.

const en = {
  welcome: 'Join the chat', welcomeText: 'Everyone on this network can chat here. Choose the name that the others see.',
  yourName: 'Your name', housePin: 'House PIN', enter: 'Enter', change: 'Change', save: 'Save',
  plainWords: 'This page is not encrypted: whoever runs this network could read along.',
  conversations: 'Conversations', settings: 'Settings', search: 'Search people and messages', back: 'Back to the list',
  messages: 'Messages', newest: 'To the newest message', attach: 'Send a picture or a file', message: 'Message', emoji: 'Emoji',
  send: 'Send', dropHere: 'Drop to send', close: 'Close', iAmAway: 'I am away', autoreply: 'Answered while I am away',
  sound: 'Sound for new messages', look: 'Look', asDevice: 'As the device', light: 'Light', dark: 'Dark', language: 'Language',
  operator: 'Operator', leave: 'Leave the chat', invite: 'Invite', inviteText: 'Point a phone’s camera here, on the same network.',
  qrAlt: 'QR code of this page’s address', picture: 'Picture', previous: 'Previous picture', following: 'Next picture', saveFile: 'Save',
  keys: 'Keys: Ctrl+K search, Alt+↑ and Alt+↓ change the conversation, Enter sends, Shift+Enter begins a new line.',
  lobby: 'Everyone', lobbyAbout: n => n === 1 ? '1 other here' : n + ' others here', people: 'People', rooms: 'Conversations', gonePeople: 'Not here',
  online: 'here', away: 'away', gone: 'not here', you: 'You', nobody: 'Nobody else is here yet. Invite someone with the QR code.',
  today: 'Today', yesterday: 'Yesterday', queued: 'Waiting to be sent', sent: 'Sent; arrival cannot be confirmed', delivered: 'Delivered',
  failed: 'Not delivered', partly: (n, all) => n + ' of ' + all + ' delivered', waiting: 'Not sent yet', again: 'Try again', discard: 'Discard',
  auto: 'automatic answer', offline: 'No connection. What you write is kept and sent as soon as it is back.', connected: 'Connected', connecting: 'Connecting…',
  missed: 'Some messages may be missing here', begin: 'This is where the conversation begins', noHistory: 'Nothing said yet',
  nameTaken: f => 'That name is taken. “' + f + '” is free.', noName: 'Please enter a name', pinWrong: 'That PIN is not right', closedDoor: 'The chat takes no newcomers at the moment',
  sending: p => 'Sending… ' + p + ' %', loading: p => 'Loading… ' + p + ' %', cancel: 'Cancel', tooLarge: m => 'Too large: at most ' + m, expired: 'no longer kept',
  pictureFrom: n => 'Picture from ' + n, open: 'Open', results: 'Messages found', nothing: 'Nothing found', muted: 'The operator has muted you',
  renamed: 'Your name is changed', saved: 'Saved', newMessage: 'New message', leaveSure: 'Leave the chat? Your name becomes free.', trouble: 'Something went wrong',
  readBy: 'Read', room: 'Room', newRoom: 'Rooms', roomName: 'Name of the room', join: 'Join', leaveRoom: 'Leave the room', roomAbout: n => n === 1 ? 'a room with 1 person' : 'a room with ' + n + ' people', notIn: 'you are not in it', accept: 'Accept', refuse: 'Refuse', pause: 'Pause', goOn: 'Go on',
  folder: 'Folder', offered: 'offered', wantsToSend: n => n + ' wants to send you', waitsAnswer: 'waits to be accepted', paused: 'paused', running: 'under way', ended: 'ended',
  unverified: 'Names on a LAN are not proven', unread: n => n + ' unread', failedTo: 'Could not be sent', says: 'says',
};

const de = {
  welcome: 'Mitchatten', welcomeText: 'Hier chatten alle in diesem Netz. Wähle den Namen, den die anderen sehen.',
  yourName: 'Dein Name', housePin: 'Haus-PIN', enter: 'Los geht’s', change: 'Ändern', save: 'Sichern',
  plainWords: 'Diese Seite ist nicht verschlüsselt: Wer dieses Netz betreibt, könnte mitlesen.',
  conversations: 'Gespräche', settings: 'Einstellungen', search: 'Personen und Nachrichten suchen', back: 'Zurück zur Liste',
  messages: 'Nachrichten', newest: 'Zur neuesten Nachricht', attach: 'Bild oder Datei senden', message: 'Nachricht', emoji: 'Emoji',
  send: 'Senden', dropHere: 'Loslassen zum Senden', close: 'Schließen', iAmAway: 'Ich bin abwesend', autoreply: 'Antwort, solange ich weg bin',
  sound: 'Ton bei neuen Nachrichten', look: 'Aussehen', asDevice: 'Wie das Gerät', light: 'Hell', dark: 'Dunkel', language: 'Sprache',
  operator: 'Betreiber', leave: 'Chat verlassen', invite: 'Einladen', inviteText: 'Im selben Netz mit der Handykamera scannen.',
  qrAlt: 'QR-Code der Adresse dieser Seite', picture: 'Bild', previous: 'Voriges Bild', following: 'Nächstes Bild', saveFile: 'Speichern',
  keys: 'Tasten: Strg+K sucht, Alt+↑ und Alt+↓ wechseln das Gespräch, Eingabe sendet, Umschalt+Eingabe macht eine neue Zeile.',
  lobby: 'Alle', lobbyAbout: n => n === 1 ? '1 weitere Person da' : n + ' weitere da', people: 'Personen', rooms: 'Gespräche', gonePeople: 'Nicht da',
  online: 'da', away: 'abwesend', gone: 'nicht da', you: 'Du', nobody: 'Noch ist niemand sonst da. Lade jemanden mit dem QR-Code ein.',
  today: 'Heute', yesterday: 'Gestern', queued: 'Wartet auf das Senden', sent: 'Gesendet; ob es ankam, lässt sich nicht sagen', delivered: 'Zugestellt',
  failed: 'Nicht zugestellt', partly: (n, all) => n + ' von ' + all + ' zugestellt', waiting: 'Noch nicht gesendet', again: 'Nochmal', discard: 'Verwerfen',
  auto: 'automatische Antwort', offline: 'Keine Verbindung. Was du schreibst, wird behalten und gesendet, sobald sie wieder da ist.', connected: 'Verbunden', connecting: 'Verbinde…',
  missed: 'Hier könnten Nachrichten fehlen', begin: 'Hier beginnt das Gespräch', noHistory: 'Noch nichts gesagt',
  nameTaken: f => 'Der Name ist vergeben. „' + f + '“ ist frei.', noName: 'Bitte einen Namen eingeben', pinWrong: 'Diese PIN stimmt nicht', closedDoor: 'Zur Zeit werden keine Neuen eingelassen',
  sending: p => 'Sende… ' + p + ' %', loading: p => 'Lade… ' + p + ' %', cancel: 'Abbrechen', tooLarge: m => 'Zu groß: höchstens ' + m, expired: 'nicht mehr vorhanden',
  pictureFrom: n => 'Bild von ' + n, open: 'Öffnen', results: 'Gefundene Nachrichten', nothing: 'Nichts gefunden', muted: 'Der Betreiber hat dich stummgeschaltet',
  renamed: 'Dein Name ist geändert', saved: 'Gesichert', newMessage: 'Neue Nachricht', leaveSure: 'Chat verlassen? Dein Name wird frei.', trouble: 'Etwas ging schief',
  readBy: 'Gelesen', room: 'Raum', newRoom: 'Räume', roomName: 'Name des Raums', join: 'Eintreten', leaveRoom: 'Raum verlassen', roomAbout: n => n === 1 ? 'ein Raum mit 1 Person' : 'ein Raum mit ' + n + ' Personen', notIn: 'du bist nicht darin', accept: 'Annehmen', refuse: 'Ablehnen', pause: 'Anhalten', goOn: 'Weiter',
  folder: 'Ordner', offered: 'angeboten', wantsToSend: n => n + ' möchte dir senden', waitsAnswer: 'wartet auf Annahme', paused: 'angehalten', running: 'unterwegs', ended: 'beendet',
  unverified: 'Namen im LAN sind nicht geprüft', unread: n => n + ' ungelesen', failedTo: 'Konnte nicht gesendet werden', says: 'sagt',
};

const cs = {
  welcome: 'Vstoupit do chatu', welcomeText: 'Tady si píše každý v této síti. Zvol si jméno, které uvidí ostatní.',
  yourName: 'Tvé jméno', housePin: 'Domovní PIN', enter: 'Vstoupit', change: 'Změnit', save: 'Uložit',
  plainWords: 'Tato stránka není šifrovaná: kdo spravuje tuto síť, mohl by číst s sebou.',
  conversations: 'Rozhovory', settings: 'Nastavení', search: 'Hledat lidi a zprávy', back: 'Zpět na seznam',
  messages: 'Zprávy', newest: 'K nejnovější zprávě', attach: 'Poslat obrázek nebo soubor', message: 'Zpráva', emoji: 'Emoji',
  send: 'Odeslat', dropHere: 'Pusť a pošle se', close: 'Zavřít', iAmAway: 'Jsem pryč', autoreply: 'Odpověď, když jsem pryč',
  sound: 'Zvuk při nové zprávě', look: 'Vzhled', asDevice: 'Podle zařízení', light: 'Světlý', dark: 'Tmavý', language: 'Jazyk',
  operator: 'Správce', leave: 'Opustit chat', invite: 'Pozvat', inviteText: 'Namiř sem fotoaparát telefonu ve stejné síti.',
  qrAlt: 'QR kód s adresou této stránky', picture: 'Obrázek', previous: 'Předchozí obrázek', following: 'Další obrázek', saveFile: 'Uložit',
  keys: 'Klávesy: Ctrl+K hledá, Alt+↑ a Alt+↓ mění rozhovor, Enter odešle, Shift+Enter začne nový řádek.',
  lobby: 'Všichni', lobbyAbout: n => n === 1 ? 'je tu 1 další' : n > 1 && n < 5 ? 'jsou tu ' + n + ' další' : 'je tu ' + n + ' dalších', people: 'Lidé', rooms: 'Rozhovory', gonePeople: 'Nejsou tu',
  online: 'je tu', away: 'pryč', gone: 'není tu', you: 'Ty', nobody: 'Nikdo další tu zatím není. Pozvi někoho QR kódem.',
  today: 'Dnes', yesterday: 'Včera', queued: 'Čeká na odeslání', sent: 'Odesláno; doručení nelze potvrdit', delivered: 'Doručeno',
  failed: 'Nedoručeno', partly: (n, all) => 'doručeno ' + n + ' z ' + all, waiting: 'Zatím neodesláno', again: 'Znovu', discard: 'Zahodit',
  auto: 'automatická odpověď', offline: 'Bez spojení. Co napíšeš, se uchová a odešle, jakmile bude zpět.', connected: 'Připojeno', connecting: 'Připojuji…',
  missed: 'Tady mohou chybět zprávy', begin: 'Tady rozhovor začíná', noHistory: 'Zatím nic nepadlo',
  nameTaken: f => 'To jméno je obsazené. „' + f + '“ je volné.', noName: 'Zadej prosím jméno', pinWrong: 'Tento PIN nesouhlasí', closedDoor: 'Chat teď nepřijímá nové lidi',
  sending: p => 'Odesílám… ' + p + ' %', loading: p => 'Načítám… ' + p + ' %', cancel: 'Zrušit', tooLarge: m => 'Příliš velké: nejvýše ' + m, expired: 'už není uloženo',
  pictureFrom: n => 'Obrázek od ' + n, open: 'Otevřít', results: 'Nalezené zprávy', nothing: 'Nic nenalezeno', muted: 'Správce tě umlčel',
  renamed: 'Jméno je změněno', saved: 'Uloženo', newMessage: 'Nová zpráva', leaveSure: 'Opustit chat? Tvé jméno se uvolní.', trouble: 'Něco se nepovedlo',
  readBy: 'Přečteno', room: 'Místnost', newRoom: 'Místnosti', roomName: 'Jméno místnosti', join: 'Vstoupit', leaveRoom: 'Opustit místnost', roomAbout: n => 'místnost, lidí: ' + n, notIn: 'nejsi v ní', accept: 'Přijmout', refuse: 'Odmítnout', pause: 'Pozastavit', goOn: 'Pokračovat',
  folder: 'Složka', offered: 'nabídnuto', wantsToSend: n => n + ' ti chce poslat', waitsAnswer: 'čeká na přijetí', paused: 'pozastaveno', running: 'na cestě', ended: 'ukončeno',
  unverified: 'Jména v síti nejsou ověřená', unread: n => n + ' nepřečtených', failedTo: 'Nelze odeslat', says: 'píše',
};

const all = { en, de, cs };

/** Further words of a page, by language; they come before those that all pages have. */
export function learn(more) { for (const code in more) Object.assign(all[code], more[code]); }

/** The language in use. */
export let lang = 'en';

/** Takes over a language and puts it into the document's static texts. */
export function speak(wanted) {
  const known = (wanted ? [wanted] : navigator.languages || [navigator.language]).map(l => String(l).slice(0, 2).toLowerCase());
  lang = known.map(l => l === 'sk' ? 'cs' : l).find(l => all[l]) || 'en';
  document.documentElement.lang = lang;
  for (const [mark, set] of [
    ['data-t', (e, w) => e.textContent = w], ['data-p', (e, w) => e.placeholder = w],
    ['data-l', (e, w) => { e.setAttribute('aria-label', w); if (e.tagName === 'BUTTON') e.title = w; }], ['data-a', (e, w) => e.alt = w]]) {
    for (const e of document.querySelectorAll(`[${mark}]`)) if (typeof all[lang][e.getAttribute(mark)] === 'string') set(e, all[lang][e.getAttribute(mark)]);
  }
}

/** A word or sentence in the language in use. */
export function t(key, ...args) {
  const word = all[lang][key] ?? en[key] ?? key;
  return typeof word === 'function' ? word(...args) : word;
}
