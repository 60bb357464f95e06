//! What is made of an answer, by why it was asked for: words, another user, who we are.

use super::super::render::is_in;
use super::{Asked, Session, Why, code};
use crate::command::Command;
use crate::model::{Answer, Refusal, Status};

impl Session {
    pub(super) fn refused(&mut self, asked: &Asked, refusal: &Refusal) {
        match (&asked.why, refusal) {
            (Why::Roster | Why::Here | Why::Settings, _) => {}
            (Why::FirstHandle, Refusal::HandleTaken { free, .. }) => {
                self.note(&refusal.to_string());
                let free = free.to_string();
                self.ask_handle(&free);
            }
            (Why::FirstHandle, _) => {
                self.note(&refusal.to_string());
                match &asked.command {
                    Command::SetHandle { handle } => self.ask_handle(&handle.clone()),
                    _ => self.start(),
                }
            }
            _ => self.note(&refusal.to_string()),
        }
    }

    pub(super) fn answered(&mut self, asked: Asked, answer: Answer) {
        match (asked.why, answer) {
            (Why::Greeting, Answer::Status(status)) => self.greeting(&status),
            (Why::Here, answer) => self.line_answered(answer),
            (Why::Image(to), Answer::Who(peers)) => {
                self.known.roster(&peers);
                self.receive_image(to);
            }
            (Why::Roster, Answer::Who(peers)) => self.known.roster(&peers),
            (Why::Settings, Answer::Config(settings)) => {
                self.known.settings(&settings);
                for setting in &settings {
                    self.news.set(&setting.key, &setting.value);
                }
            }
            (Why::User(whom), Answer::Status(status)) => self.speak_for(whom, &status),
            (Why::Code, Answer::Status(status)) => self.editor.above(&code(&status.page)),
            (Why::FirstHandle, Answer::Handle(handle)) => {
                self.called(handle.as_str());
                match asked.command {
                    Command::SetHandle { .. } => self.ask(Why::FirstHandle, Command::Join {}),
                    _ => self.start(),
                }
            }
            (Why::FirstHandle, _) => self.start(),
            (Why::Typed, answer) => self.done(asked.command, answer),
            _ => {}
        }
    }

    pub(super) fn speak_for(&mut self, whom: Option<String>, status: &Status) {
        let Some(whom) = whom else {
            self.learn(status);
            return self.editor.above(&self.paint.users(&status.users, &self.me));
        };
        match status.users.iter().find(|u| u.handle.is(&whom)) {
            Some(user) => {
                self.user = Some(user.handle.to_string());
                self.learn(status);
                let text = format!("you speak for {} now", self.me);
                self.editor.above(&text);
            }
            None => self.note(&Refusal::NoSuchUser { handle: whom }.to_string()),
        }
    }

    /// Takes from a status who we are.
    pub(super) fn learn(&mut self, status: &Status) {
        self.known.users = status.users.iter().map(|u| u.handle.to_string()).collect();
        let mine = match &self.user {
            Some(user) => status.users.iter().find(|u| u.handle.is(user)),
            None => status.users.first(),
        };
        if let Some(user) = mine {
            self.me = user.handle.to_string();
            self.set_state(match (is_in(user, status), user.away) {
                (false, _) => " (left)",
                (true, true) => " (away)",
                (true, false) => "",
            });
        }
    }

    /// Our own handle is another now.
    pub(super) fn called(&mut self, handle: &str) {
        handle.clone_into(&mut self.me);
        if self.user.is_some() {
            self.user = Some(handle.to_owned());
        }
        self.set_state(self.state);
    }

    pub(super) fn set_state(&mut self, state: &'static str) {
        self.state = state;
        self.show_prompt();
    }
}
