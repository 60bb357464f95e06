//! The API's description (OpenAPI 3.1), made at build time of the control interface's own
//! description, so that methods, parameters and types cannot differ between the two, and of
//! `openapi.json`, which has what is the web's alone.
//!
//! Used by `build.rs`; within the crate only by the tests that hold it to the code.

use serde_json::{Map, Value, json};

/// Methods that the web does not have.
const NOT_HERE: &[&str] =
    &["Subscribe", "Export", "Import", "Reboot", "PowerOff", "FactoryReset", "Update", "SetTime"];
/// Methods that GET does too.
const READING: &[&str] = &["Status", "Who", "FreeHandle", "History", "Search", "Rooms", "RoomWho"];
/// Methods that take a key under which they are carried out once.
const ONCE: &[&str] = &["Send", "SendFile"];

/// The document, of the interface's description and of the base.
pub fn document(interface: &str, base: &str) -> Value {
    let mut document: Value = serde_json::from_str(base).expect("the base is JSON");
    for declaration in declarations(interface) {
        match declaration {
            Declaration::Type { name, about, fields } => {
                let schema = object(&fields, &about, false);
                document["components"]["schemas"][name] = schema;
            }
            Declaration::Method { name, about, takes, gives } => {
                if NOT_HERE.contains(&name.as_str()) {
                    continue;
                }
                let takes = takes_on_the_web(&name, takes);
                document["paths"][format!("/api/v1/{name}")] = path(&name, &about, &takes, &gives);
            }
        }
    }
    document
}

struct Field {
    name: String,
    kind: String,
    about: String,
}

enum Declaration {
    Type { name: String, about: String, fields: Vec<Field> },
    Method { name: String, about: String, takes: Vec<Field>, gives: Vec<Field> },
}

/// Types and methods of an interface, with the comments above them.
fn declarations(text: &str) -> Vec<Declaration> {
    let mut found = Vec::new();
    let mut about = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix('#') {
            about.push(comment.trim().to_owned());
            continue;
        }
        let word = line.split(' ').next().unwrap_or_default();
        if matches!(word, "type" | "method") {
            let mut whole = line.to_owned();
            // a comment runs to its line's end: the mark keeps it apart
            while whole.matches('(').count() != whole.matches(')').count() || whole.ends_with("->")
            {
                let Some(next) = lines.next() else { break };
                let next = next.trim();
                let next = match next.strip_prefix('#') {
                    Some(comment) => format!("\u{1}{}\u{2}", comment.replace(['(', ')'], "")),
                    None => next.to_owned(),
                };
                whole.push(' ');
                whole.push_str(&next);
            }
            let rest = whole[word.len()..].trim();
            let at = rest.find('(').expect("a declaration has brackets");
            let name = rest[..at].trim().to_owned();
            let about = about.join(" ");
            found.push(if word == "type" {
                Declaration::Type { name, about, fields: fields(inner(&rest[at..])) }
            } else {
                let (takes, gives) = rest[at..].split_once("->").expect("a method answers");
                let (takes, gives) = (fields(inner(takes)), fields(inner(gives)));
                Declaration::Method { name, about, takes, gives }
            });
        }
        about.clear();
    }
    found
}

fn inner(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('(').and_then(|t| t.strip_suffix(')')).expect("a struct in brackets")
}

fn fields(text: &str) -> Vec<Field> {
    let (mut found, mut depth, mut start) = (Vec::new(), 0, 0);
    let mut ends: Vec<usize> = Vec::new();
    let mut comment = false;
    for (at, c) in text.char_indices() {
        match c {
            '\u{1}' => comment = true,
            '\u{2}' => comment = false,
            _ if comment => {}
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => ends.push(at),
            _ => {}
        }
    }
    ends.push(text.len());
    for end in ends {
        let mut part = text[start..end].trim();
        start = (end + 1).min(text.len());
        let mut about = Vec::new();
        while let Some(rest) = part.strip_prefix('\u{1}') {
            let (said, rest) = rest.split_once('\u{2}').expect("a comment ends");
            about.push(said.trim());
            part = rest.trim();
        }
        if let Some((name, kind)) = part.split_once(':') {
            let about = about.join(" ");
            found.push(Field { name: name.trim().into(), kind: kind.trim().into(), about });
        }
    }
    found
}

/// On the web a file is one that was uploaded, and who acts is known by the cookie.
fn takes_on_the_web(method: &str, takes: Vec<Field>) -> Vec<Field> {
    let mut takes = takes;
    if method == "SendFile" {
        takes.retain(|field| field.name != "path" && field.name != "fileDescriptor");
        let about = "The id of an upload that is whole.".to_owned();
        takes.push(Field { name: "upload".into(), kind: "string".into(), about });
    }
    takes
}

fn path(name: &str, about: &str, takes: &[Field], gives: &[Field]) -> Value {
    let responses = json!({
        "200": {"description": "Done.", "content": {"application/json": {"schema": object(gives, "", false)}}},
        "default": {"$ref": "#/components/responses/Error"}
    });
    let mut headers = Vec::new();
    if ONCE.contains(&name) {
        headers.push(json!({"$ref": "#/components/parameters/Key"}));
    }
    let mut path = Map::new();
    let body = json!({"required": true,
        "content": {"application/json": {"schema": object(takes, "", true)}}});
    path.insert(
        "post".into(),
        json!({"operationId": name, "summary": about, "parameters": headers,
            "requestBody": body, "responses": responses}),
    );
    if READING.contains(&name) {
        let query = takes.iter().map(|field| {
            let (schema, must) = schema(&field.kind, &field.about);
            let mut schema = schema;
            // a query has no null: what is absent is left out
            if let Some(kinds) = schema["type"].as_array().cloned() {
                schema["type"] = kinds[0].clone();
            }
            json!({"name": field.name, "in": "query", "required": must, "schema": schema})
        });
        path.insert(
            "get".into(),
            json!({"operationId": format!("get{name}"), "summary": about,
                "parameters": query.collect::<Vec<_>>(), "responses": responses}),
        );
    }
    Value::Object(path)
}

fn object(fields: &[Field], about: &str, strict: bool) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in fields {
        let (schema, must) = schema(&field.kind, &field.about);
        properties.insert(field.name.clone(), schema);
        if must {
            required.push(Value::from(field.name.as_str()));
        }
    }
    let mut object = json!({"type": "object", "properties": properties, "required": required});
    if strict {
        object["additionalProperties"] = false.into();
    }
    if !about.is_empty() {
        object["description"] = about.into();
    }
    object
}

/// A type of the interface as JSON Schema has it, and whether it must be there.
fn schema(kind: &str, about: &str) -> (Value, bool) {
    let (bare, must) = match kind.strip_prefix('?') {
        Some(bare) => (bare, false),
        None => (kind, true),
    };
    let mut schema = if let Some(item) = bare.strip_prefix("[]") {
        json!({"type": "array", "items": self::schema(item, "").0})
    } else if let Some(words) = bare.strip_prefix('(') {
        let words: Vec<&str> = words.trim_end_matches(')').split(',').map(str::trim).collect();
        json!({"type": "string", "enum": words})
    } else {
        match bare {
            "string" => json!({"type": "string"}),
            "bool" => json!({"type": "boolean"}),
            "int" => json!({"type": "integer", "minimum": 0}),
            "object" => json!({"type": "object"}),
            other => json!({"$ref": format!("#/components/schemas/{other}")}),
        }
    };
    if !must {
        if schema.get("enum").is_some() {
            schema["enum"].as_array_mut().expect("a list").push(Value::Null);
        }
        if let Some(kind) = schema["type"].as_str().map(ToOwned::to_owned) {
            schema["type"] = json!([kind, "null"]);
        }
    }
    if !about.is_empty() && schema.get("$ref").is_none() {
        schema["description"] = about.into();
    }
    (schema, must)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Kind, METHODS};
    use crate::web::{calls, route::Route};

    fn whole() -> Value {
        let interface = include_str!("../control/org.klatsch.Chat.varlink");
        document(interface, include_str!("openapi.json"))
    }

    #[test]
    fn every_method_stands_in_it_with_its_parameters_and_no_other() {
        let document = whole();
        assert_eq!(READING, calls::READING);
        for (method, takes) in METHODS {
            let path = &document["paths"][format!("/api/v1/{method}")];
            assert_eq!(path.is_object(), calls::is_method(method), "{method}");
            if !path.is_object() || *method == "SendFile" {
                continue;
            }
            let schema = &path["post"]["requestBody"]["content"]["application/json"]["schema"];
            let properties = schema["properties"].as_object().unwrap();
            assert_eq!(properties.len(), takes.len(), "{method}");
            for taken in *takes {
                let property = &properties[taken.name];
                let kind = match taken.kind {
                    Kind::Text => "string",
                    Kind::Flag => "boolean",
                    Kind::Number | Kind::Count => "integer",
                    Kind::Texts | Kind::Objects => "array",
                };
                let said = property["type"].to_string();
                assert!(said.contains(kind), "{method} {}: {said}", taken.name);
                let must = schema["required"].as_array().unwrap().contains(&taken.name.into());
                assert_eq!(must, !taken.optional, "{method} {}", taken.name);
            }
        }
    }

    #[test]
    fn every_path_in_it_leads_somewhere_with_just_these_methods() {
        let document = whole();
        for (path, item) in document["paths"].as_object().unwrap() {
            let filled: String = path
                .split('/')
                .map(|part| if part.starts_with('{') { "x" } else { part })
                .collect::<Vec<_>>()
                .join("/");
            let mut said: Vec<String> =
                item.as_object().unwrap().keys().map(|k| k.to_uppercase()).collect();
            said.retain(|key| key != "PARAMETERS");
            said.sort_unstable();
            let route = Route::of(&filled);
            let mut takes = route.methods().to_vec();
            takes.sort_unstable();
            assert_eq!(said, takes, "{path}");
        }
    }

    #[test]
    fn all_that_it_refers_to_is_there() {
        let document = whole();
        let text = document.to_string();
        for part in text.split("\"$ref\":\"#/").skip(1) {
            let pointer = format!("/{}", part.split('"').next().unwrap());
            assert!(document.pointer(&pointer).is_some(), "{pointer}");
        }
    }
}
