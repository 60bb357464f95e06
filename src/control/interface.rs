//! The interface's description for others, and the test that it says what the code does.

/// `org.klatsch.Chat` in Varlink's own words, as `GetInterfaceDescription` gives it.
pub const DESCRIPTION: &str = include_str!("org.klatsch.Chat.varlink");

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::DESCRIPTION;
    use crate::api::{self, Kind, METHODS, Request, samples};

    #[derive(Debug)]
    enum Type {
        Plain(String),
        Maybe(Box<Type>),
        List(Box<Type>),
        Fields(Vec<(String, Type)>),
        OneOf(Vec<String>),
    }

    /// Name to parameters; of a method also the results, under `Name->`.
    type Described = BTreeMap<String, Type>;

    struct Tokens(Vec<String>, usize);

    impl Tokens {
        fn peek(&self) -> &str {
            self.0.get(self.1).map_or("", String::as_str)
        }
        fn take(&mut self) -> String {
            self.1 += 1;
            self.0[self.1 - 1].clone()
        }
        fn eat(&mut self, want: &str) -> bool {
            let found = self.peek() == want;
            self.1 += usize::from(found);
            found
        }
        fn kind(&mut self) -> Type {
            if self.eat("?") {
                return Type::Maybe(Box::new(self.kind()));
            }
            if self.eat("[") {
                assert!(self.eat("]"));
                return Type::List(Box::new(self.kind()));
            }
            if !self.eat("(") {
                return Type::Plain(self.take());
            }
            let (mut fields, mut names) = (Vec::new(), Vec::new());
            while !self.eat(")") {
                let name = self.take();
                match self.eat(":") {
                    true => fields.push((name, self.kind())),
                    false => names.push(name),
                }
                assert!(self.eat(",") || self.peek() == ")", "before {}", self.peek());
            }
            assert!(fields.is_empty() || names.is_empty());
            if names.is_empty() { Type::Fields(fields) } else { Type::OneOf(names) }
        }
    }

    fn described() -> [Described; 3] {
        let mut text = String::new();
        for line in DESCRIPTION.lines().filter(|line| !line.trim().starts_with('#')) {
            for c in line.replace("->", ">").chars() {
                match c {
                    '(' | ')' | ':' | ',' | '?' | '[' | ']' | '>' => text += &format!(" {c} "),
                    c => text.push(c),
                }
            }
            text.push(' ');
        }
        let mut tokens = Tokens(text.split_whitespace().map(Into::into).collect(), 0);
        assert_eq!((tokens.take(), tokens.take()), ("interface".into(), api::INTERFACE.into()));
        let [mut types, mut methods, mut errors] = <[Described; 3]>::default();
        while tokens.1 < tokens.0.len() {
            let (what, name) = (tokens.take(), tokens.take());
            let described = tokens.kind();
            let twice = match what.as_str() {
                "type" => types.insert(name, described),
                "error" => errors.insert(name, described),
                "method" => {
                    assert!(tokens.eat(">"));
                    methods.insert(format!("{name}->"), tokens.kind());
                    methods.insert(name, described)
                }
                other => panic!("{other}"),
            };
            assert!(twice.is_none());
        }
        for name in types.keys() {
            assert!(!methods.contains_key(name) && !errors.contains_key(name), "{name} twice");
        }
        [types, methods, errors]
    }

    fn check(kind: &Type, value: &Value, types: &Described, at: &str) {
        match kind {
            Type::Plain(name) => match name.as_str() {
                "string" => assert!(value.is_string(), "{at}"),
                "bool" => assert!(value.is_boolean(), "{at}"),
                "int" => assert!(value.is_i64() || value.is_u64(), "{at}"),
                "object" => assert!(value.is_object(), "{at}"),
                name => check(&types[name], value, types, at),
            },
            Type::Maybe(inner) => {
                if !value.is_null() {
                    check(inner, value, types, at);
                }
            }
            Type::List(inner) => {
                for value in value.as_array().unwrap() {
                    check(inner, value, types, at);
                }
            }
            Type::OneOf(names) => {
                assert!(names.iter().any(|n| *n == value.as_str().unwrap()), "{at}: {value}");
            }
            Type::Fields(fields) => {
                let object = value.as_object().unwrap();
                for (name, kind) in fields {
                    let value = object.get(name).unwrap_or(&Value::Null);
                    if !matches!(kind, Type::Maybe(_)) {
                        assert!(!value.is_null(), "{at}.{name} is missing");
                    }
                    check(kind, value, types, &format!("{at}.{name}"));
                }
                for name in object.keys() {
                    assert!(fields.iter().any(|(n, _)| n == name), "{at}.{name} not described");
                }
            }
        }
    }

    #[test]
    fn methods_and_parameters_are_those_of_the_code() {
        let [_, methods, _] = described();
        let in_file: Vec<_> = methods.keys().filter(|m| !m.ends_with("->")).collect();
        let mut in_code: Vec<_> = METHODS.iter().map(|(name, _)| *name).collect();
        in_code.sort_unstable();
        assert_eq!(in_file, in_code);
        for (method, takes) in METHODS {
            let Type::Fields(fields) = &methods[*method] else { panic!("{method}") };
            let in_file: Vec<String> = fields.iter().map(|f| format!("{f:?}")).collect();
            let in_code = takes.iter().map(|p| {
                let plain = |name: &str| Type::Plain(name.into());
                let kind = match p.kind {
                    Kind::Text => plain("string"),
                    Kind::Texts => Type::List(Box::new(plain("string"))),
                    Kind::Flag => plain("bool"),
                    Kind::Number | Kind::Count => plain("int"),
                    Kind::Objects => Type::List(Box::new(plain("Entry"))),
                };
                let kind = if p.optional { Type::Maybe(Box::new(kind)) } else { kind };
                format!("{:?}", (p.name.to_owned(), kind))
            });
            assert_eq!(in_file, in_code.collect::<Vec<_>>(), "{method}");
        }
    }

    #[test]
    fn samples_of_every_call_reply_and_error_are_as_described() {
        let [types, methods, errors] = described();
        for command in samples::commands() {
            let request = Request::Act { user: Some("anna".into()), command: command.clone() };
            let (method, parameters) = request.to_json();
            check(&methods[&method], &json!(parameters), &types, &method);
            let (name, answer) = samples::answer_to(&command);
            assert_eq!(name, method);
            let results = json!(api::answer_to_json(&answer));
            check(&methods[&format!("{method}->")], &results, &types, &method);
        }
        let refusals = samples::refusals();
        assert_eq!(refusals.len(), errors.len());
        for refusal in refusals {
            let (name, parameters) = api::refusal_to_json(&refusal);
            let name = name.strip_prefix("org.klatsch.Chat.").unwrap();
            check(&errors[name], &json!(parameters), &types, name);
        }
    }

    #[test]
    fn the_document_has_every_kind_of_event_with_its_fields() {
        let document = include_str!("../../docs/control.md");
        let events = samples::events();
        for what in &events {
            let event = json!(what);
            let kind = event["kind"].as_str().unwrap();
            let row = document.lines().find(|l| l.starts_with(&format!("| `{kind}` |")));
            let row = row.unwrap_or_else(|| panic!("no row for {kind}"));
            let mut said: Vec<&str> = row.split('|').nth(2).unwrap().split('`').collect();
            said = said.into_iter().skip(1).step_by(2).collect();
            said.sort_unstable();
            let mut fields: Vec<&String> = event.as_object().unwrap().keys().collect();
            fields.retain(|field| *field != "kind");
            fields.sort_unstable();
            assert_eq!(said, fields, "{kind}");
        }
        let rows = document.lines().filter(|line| line.starts_with("| `"));
        assert_eq!(rows.filter(|row| row.matches('|').count() == 4).count(), events.len());
        let kinds = events.iter().map(|what| json!(what)["kind"].as_str().unwrap().to_owned());
        let listed = kinds.collect::<Vec<_>>().join(", ");
        let flat: Vec<&str> = DESCRIPTION.split_whitespace().filter(|word| *word != "#").collect();
        assert!(flat.join(" ").contains(&format!("Kinds: {listed}.")), "{listed}");
    }

    #[test]
    fn everything_has_a_word_of_explanation() {
        let lines: Vec<&str> = DESCRIPTION.lines().collect();
        for pair in lines.windows(2) {
            let words = ["interface ", "type ", "method ", "error "];
            if words.iter().any(|word| pair[1].starts_with(word)) {
                assert!(pair[0].starts_with('#'), "{}", pair[1]);
            }
        }
    }
}
