//! The words of the pages that are made here, for whoever has no scripts, in the languages that
//! the other pages speak too (`page/words.js`).

/// One language's.
pub struct Words {
    /// Its code.
    pub code: &'static str,
    /// The newcomer's form.
    pub welcome: &'static str,
    /// What the chat is.
    pub about: &'static str,
    /// A newcomer's field.
    pub name: &'static str,
    /// Another.
    pub pin: &'static str,
    /// The form's button.
    pub enter: &'static str,
    /// What is not promised.
    pub clear: &'static str,
    /// Before a name that is free.
    pub taken: &'static str,
    /// The PIN was wrong.
    pub wrong_pin: &'static str,
    /// Nobody is let in.
    pub closed: &'static str,
    /// The room of all.
    pub everyone: &'static str,
    /// Before one's own name.
    pub you: &'static str,
    /// The link that loads the page again.
    pub refresh: &'static str,
    /// The conversation.
    pub messages: &'static str,
    /// The same, for who does not see it.
    pub newest_first: &'static str,
    /// The field for a text.
    pub message: &'static str,
    /// Its button.
    pub send: &'static str,
    /// The list of people.
    pub people: &'static str,
    /// Mark of one who is away.
    pub away: &'static str,
    /// The button that ends it.
    pub leave: &'static str,
    /// An empty conversation.
    pub nothing: &'static str,
    /// Fate of a text.
    pub failed: &'static str,
    /// Another.
    pub queued: &'static str,
    /// Before a file that somebody offers.
    pub offers: &'static str,
    /// A button to have it.
    pub accept: &'static str,
    /// A button not to have it.
    pub refuse: &'static str,
    /// Whatever else went wrong.
    pub trouble: &'static str,
}

static ALL: [Words; 3] = [
    Words {
        code: "en",
        welcome: "Join the chat",
        about: "Everyone on this network can chat here. Choose the name that the others see.",
        name: "Your name",
        pin: "House PIN",
        enter: "Enter",
        clear: "This page is not encrypted: whoever runs this network could read along.",
        taken: "That name is taken. Free is:",
        wrong_pin: "That PIN is not right.",
        closed: "The chat takes no newcomers at the moment.",
        everyone: "Everyone",
        you: "You are",
        refresh: "Refresh",
        messages: "Messages",
        newest_first: "Messages, the newest first",
        message: "Message",
        send: "Send",
        people: "People",
        away: "away",
        leave: "Leave the chat",
        nothing: "Nothing said yet.",
        failed: "not delivered",
        queued: "waiting",
        offers: "wants to send you",
        accept: "Accept",
        refuse: "Refuse",
        trouble: "That did not work.",
    },
    Words {
        code: "de",
        welcome: "Mitchatten",
        about: "Hier chatten alle in diesem Netz. Wähle den Namen, den die anderen sehen.",
        name: "Dein Name",
        pin: "Haus-PIN",
        enter: "Los geht’s",
        clear: "Diese Seite ist nicht verschlüsselt: Wer dieses Netz betreibt, könnte mitlesen.",
        taken: "Der Name ist vergeben. Frei ist:",
        wrong_pin: "Diese PIN stimmt nicht.",
        closed: "Zur Zeit werden keine Neuen eingelassen.",
        everyone: "Alle",
        you: "Du bist",
        refresh: "Neu laden",
        messages: "Nachrichten",
        newest_first: "Nachrichten, die neueste zuerst",
        message: "Nachricht",
        send: "Senden",
        people: "Personen",
        away: "abwesend",
        leave: "Chat verlassen",
        nothing: "Noch nichts gesagt.",
        failed: "nicht zugestellt",
        queued: "wartet",
        offers: "möchte dir senden",
        accept: "Annehmen",
        refuse: "Ablehnen",
        trouble: "Das ging nicht.",
    },
    Words {
        code: "cs",
        welcome: "Vstoupit do chatu",
        about: "Tady si píše každý v této síti. Zvol si jméno, které uvidí ostatní.",
        name: "Tvé jméno",
        pin: "Domovní PIN",
        enter: "Vstoupit",
        clear: "Tato stránka není šifrovaná: kdo spravuje tuto síť, mohl by číst s sebou.",
        taken: "To jméno je obsazené. Volné je:",
        wrong_pin: "Tento PIN nesouhlasí.",
        closed: "Chat teď nepřijímá nové lidi.",
        everyone: "Všichni",
        you: "Jsi",
        refresh: "Obnovit",
        messages: "Zprávy",
        newest_first: "Zprávy, nejnovější první",
        message: "Zpráva",
        send: "Odeslat",
        people: "Lidé",
        away: "pryč",
        leave: "Opustit chat",
        nothing: "Zatím nic nepadlo.",
        failed: "nedoručeno",
        queued: "čeká",
        offers: "ti chce poslat",
        accept: "Přijmout",
        refuse: "Odmítnout",
        trouble: "To se nepovedlo.",
    },
];

/// Languages of an `Accept-Language` line that are looked at.
const MAX_LANGUAGES: usize = 16;

/// The words for who sends this `Accept-Language` line (RFC 9110, 12.5.4): of the languages known
/// here the one wanted most, the first of equals; else English.
pub fn wanted(line: Option<&str>) -> &'static Words {
    let mut best: Option<(f32, &Words)> = None;
    for part in line.unwrap_or_default().split(',').take(MAX_LANGUAGES) {
        let (tag, weight) = part.split_once(';').unwrap_or((part, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Some(1.0), |q| q.parse().ok());
        let code = tag.trim().split('-').next().unwrap_or_default().to_ascii_lowercase();
        // Slovaks read Czech
        let code = if code == "sk" { "cs" } else { code.as_str() };
        let known = ALL.iter().find(|words| words.code == code);
        let (Some(words), Some(weight)) = (known, weight) else { continue };
        if weight > best.map_or(0.0, |(most, _)| most) {
            best = Some((weight, words));
        }
    }
    best.map_or(&ALL[0], |(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_wanted_most_of_those_known_is_chosen() {
        for (line, code) in [
            ("", "en"),
            ("de", "de"),
            ("de-AT,de;q=0.9,en;q=0.8", "de"),
            ("fr-FR, cs;q=0.5, de;q=0.7", "de"),
            ("sk, en;q=0.9", "cs"),
            ("de;q=0, cs;q=0.1", "cs"),
            ("fr, *;q=0.5", "en"),
            ("de;q=x", "en"),
            (";;;,,,=", "en"),
        ] {
            assert_eq!(wanted(Some(line)).code, code, "{line}");
        }
        assert_eq!(wanted(None).code, "en");
        let late = format!("{}de", "fr,".repeat(MAX_LANGUAGES));
        assert_eq!(wanted(Some(&late)).code, "en");
    }
}
