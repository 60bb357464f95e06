//! What a person is told when a command of theirs was carried out.

use super::Session;
use crate::command::Command;
use crate::model::Answer;

impl Session {
    /// Says it, and remembers what it changes for this console.
    pub(super) fn done(&mut self, command: Command, answer: Answer) {
        let text = match (command, answer) {
            (_, Answer::Who(peers)) => {
                self.known.roster(&peers);
                self.paint.who(&peers)
            }
            (_, Answer::Status(status)) => {
                self.learn(&status);
                self.paint.status(&status, &self.me)
            }
            (_, Answer::Sent(receipts)) => {
                self.news.sent(&receipts);
                self.paint.receipts(&receipts)
            }
            (_, Answer::Verify(view)) => crate::console::render::verify(&view),
            (_, Answer::Rooms(rooms)) => crate::console::render::rooms(&rooms),
            (Command::RoomJoin { room }, _) => {
                let room = room.trim_start_matches('#');
                format!("you are in #{room}: MSG #{room} writes there, ROOM LEAVE {room} leaves")
            }
            (Command::RoomLeave { room }, _) => {
                format!("you left #{}", room.trim_start_matches('#'))
            }
            (_, Answer::Doctor(report)) => self.paint.doctor(&report),
            (_, Answer::Network(interfaces)) => self.paint.network(&interfaces),
            (_, Answer::Log(lines)) => self.paint.log(&lines),
            (Command::Reboot {}, _) => "the machine is asked to restart".into(),
            (Command::PowerOff {}, _) => "the machine is asked to switch off".into(),
            (Command::FactoryReset {}, _) => {
                "the machine is asked to restart; everything is erased then".into()
            }
            (Command::SetTime { time }, _) => format!("the clock is being set to {time}"),
            (command, Answer::Page(page)) => self.paint.page(&page, &command),
            (Command::ForgetKey { .. }, Answer::Count(n)) => match n {
                1 => "1 key is forgotten".into(),
                n => format!("{n} keys are forgotten"),
            },
            (Command::Delete { .. }, Answer::Count(n)) => match n {
                0 => "there was nothing of that to delete".into(),
                1 => "1 entry is deleted".into(),
                n => format!("{n} entries are deleted"),
            },
            (Command::Config { value: None, .. }, Answer::Config(settings)) => {
                self.known.settings(&settings);
                self.paint.settings(&settings)
            }
            (Command::Config { key: Some(key), value: Some(value) }, answer) => {
                let (mut value, mut later) = (value, "");
                if let Answer::Config(settings) = answer {
                    if let Some(setting) = settings.into_iter().find(|s| s.key == key) {
                        later = if setting.live { "" } else { " from the next start on" };
                        value = setting.value;
                    }
                }
                self.known.set(&key, &value);
                self.news.set(&key, &value);
                self.news.expect(&key);
                let value = if value.is_empty() { "\"\"" } else { &value };
                format!("{key} is {value}{later}")
            }
            (Command::SetHandle { .. }, Answer::Handle(handle)) => {
                self.called(handle.as_str());
                self.news.expect("handle");
                format!("you are now {handle}")
            }
            (Command::Join {}, answer) => {
                if let Answer::Handle(handle) = answer {
                    self.called(handle.as_str());
                }
                self.set_state("");
                format!("you are in the chat as {}", self.me)
            }
            (Command::Leave {}, _) => {
                self.set_state(" (left)");
                "you left the chat: JOIN enters again".into()
            }
            (Command::SetPresence { away: true, .. }, _) => {
                self.set_state(" (away)");
                self.news.expect("inactive");
                "you are away: BACK ends it".into()
            }
            (Command::SetPresence { away: false, .. }, _) => {
                self.set_state("");
                self.news.expect("inactive");
                "you are back".into()
            }
            (Command::SetAutoreply { text }, _) => {
                self.news.expect("autoreply");
                match text.as_str() {
                    "" => "nothing is answered while you are away".into(),
                    text => format!("while you are away this is answered: {text}"),
                }
            }
            (Command::Chat { handle }, _) => format!("{handle} is asked for a private chat"),
            // what comes of it is told by its event
            (
                Command::Accept { .. }
                | Command::Refuse { .. }
                | Command::Cancel { .. }
                | Command::Pause { .. }
                | Command::Close { .. },
                _,
            ) => {
                return;
            }
            (Command::Block { handle }, _) => {
                format!("{handle} is blocked: UNBLOCK {handle} hears them again")
            }
            (Command::Unblock { handle }, _) => format!("{handle} is heard again"),
            (Command::SetForm { handle, form: Some(form) }, _) => {
                format!("{handle} is spoken to in the form {form}")
            }
            (Command::SetForm { handle, form: None }, _) => {
                format!("the form of {handle} will be learned by listening")
            }
            _ => "done".into(),
        };
        self.editor.above(&text);
    }
}
