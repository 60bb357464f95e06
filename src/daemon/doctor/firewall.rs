//! What a packet filter does with a new packet from the LAN to one of our ports. Pure: the text of
//! `nft --json list ruleset` (libnftables-json(5)) or of `iptables-save` in, a verdict out.
//!
//! What is not understood makes the verdict [`Passes::Perhaps`], never a guess.

use serde_json::Value;

/// Rules that are followed for one packet, jumps included: more are a loop, or not worth it.
pub const MAX_STEPS: usize = 10_000;
/// Chains within chains: what the kernel allows too.
pub const MAX_DEPTH: usize = 16;

/// A protocol and a port of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// UDP, else TCP.
    pub udp: bool,
    /// The port.
    pub port: u16,
}

impl Wire {
    fn protocol(self) -> &'static str {
        if self.udp { "udp" } else { "tcp" }
    }
}

impl std::fmt::Display for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", if self.udp { "UDP" } else { "TCP" }, self.port)
    }
}

/// Whether a packet gets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passes {
    /// It does.
    Yes,
    /// A rule that is not understood here decides.
    Perhaps,
    /// It does not; the chain or rule that drops it.
    No(String),
}

/// What a rule's condition says of the packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fits {
    Yes,
    No,
    Unknown,
}

impl Fits {
    fn of(yes: bool) -> Fits {
        if yes { Fits::Yes } else { Fits::No }
    }
    fn and(self, other: Fits) -> Fits {
        match (self, other) {
            (Fits::No, _) | (_, Fits::No) => Fits::No,
            (Fits::Unknown, _) | (_, Fits::Unknown) => Fits::Unknown,
            _ => Fits::Yes,
        }
    }
}

/// A rule of either program.
struct Rule {
    fits: Fits,
    does: Does,
    text: String,
}

enum Does {
    Accept,
    Drop,
    Jump(String),
    Goto(String),
    Return,
    Nothing,
}

/// What a chain came to.
enum End {
    Accept,
    Drop(String),
    Fell,
}

struct Walk<'a> {
    rules: &'a dyn Fn(&str) -> Vec<Rule>,
    steps: usize,
    doubt: bool,
}

impl Walk<'_> {
    fn chain(&mut self, name: &str, depth: usize) -> End {
        for rule in (self.rules)(name) {
            self.steps += 1;
            if self.steps > MAX_STEPS || depth > MAX_DEPTH {
                self.doubt = true;
                return End::Fell;
            }
            match (rule.fits, rule.does) {
                (Fits::No, _) | (_, Does::Nothing) => {}
                (Fits::Unknown, _) => self.doubt = true,
                (Fits::Yes, Does::Accept) => return End::Accept,
                (Fits::Yes, Does::Drop) => return End::Drop(rule.text),
                (Fits::Yes, Does::Return) => return End::Fell,
                (Fits::Yes, Does::Goto(to)) => return self.chain(&to, depth + 1),
                (Fits::Yes, Does::Jump(to)) => match self.chain(&to, depth + 1) {
                    End::Fell => {}
                    end => return end,
                },
            }
        }
        End::Fell
    }
}

fn decide(rules: &dyn Fn(&str) -> Vec<Rule>, base: &str, drops: bool, shown: &str) -> Passes {
    let mut walk = Walk { rules, steps: 0, doubt: false };
    let end = walk.chain(base, 0);
    match end {
        _ if walk.doubt => Passes::Perhaps,
        End::Accept => Passes::Yes,
        End::Drop(rule) => Passes::No(format!("{shown}: {rule}")),
        End::Fell if drops => Passes::No(format!("{shown} drops what no rule accepts")),
        End::Fell => Passes::Yes,
    }
}

/// By nftables' rules. `None`: that is no such text.
pub fn by_nft(json: &str, wire: Wire) -> Option<Passes> {
    let all: Value = serde_json::from_str(json).ok()?;
    let all = all["nftables"].as_array()?;
    let mut worst = Passes::Yes;
    for base in all.iter().map(|o| &o["chain"]).filter(|c| c["hook"] == "input") {
        let (family, table) = (&base["family"], &base["table"]);
        if !["ip", "inet"].iter().any(|f| family == f) {
            continue;
        }
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let shown =
            format!("chain {} of table {} {}", text(&base["name"]), text(family), text(table));
        let rules = |name: &str| {
            let of =
                |r: &&Value| r["family"] == *family && r["table"] == *table && r["chain"] == *name;
            all.iter().map(|o| &o["rule"]).filter(of).map(|r| nft_rule(r, wire)).collect()
        };
        let drops = base["policy"] == "drop";
        match decide(&rules, base["name"].as_str()?, drops, &shown) {
            no @ Passes::No(_) => return Some(no),
            Passes::Perhaps => worst = Passes::Perhaps,
            Passes::Yes => {}
        }
    }
    Some(worst)
}

fn nft_rule(rule: &Value, wire: Wire) -> Rule {
    let mut fits = Fits::Yes;
    let mut does = Does::Nothing;
    for part in rule["expr"].as_array().into_iter().flatten() {
        let Some((what, value)) = part.as_object().and_then(|o| o.iter().next()) else { continue };
        let target = || value["target"].as_str().unwrap_or_default().to_owned();
        match what.as_str() {
            "match" => fits = fits.and(nft_match(value, wire)),
            "accept" => does = Does::Accept,
            "drop" | "reject" => does = Does::Drop,
            "jump" => does = Does::Jump(target()),
            "goto" => does = Does::Goto(target()),
            "return" => does = Does::Return,
            "counter" | "log" | "comment" => {}
            _ => fits = fits.and(Fits::Unknown),
        }
    }
    let comment = rule["comment"].as_str().map(|c| format!(" ({c})")).unwrap_or_default();
    Rule { fits, does, text: format!("rule {}{comment}", rule["handle"]) }
}

fn nft_match(value: &Value, wire: Wire) -> Fits {
    let (left, right) = (&value["left"], &value["right"]);
    let payload = |protocol: &str, field: &str| {
        left["payload"]["protocol"] == protocol && left["payload"]["field"] == field
    };
    let fits = if payload("udp", "dport") || payload("tcp", "dport") || payload("th", "dport") {
        let other = if wire.udp { "tcp" } else { "udp" };
        match holds(right, &|v| v.as_u64() == Some(wire.port.into()), Some(wire.port)) {
            _ if left["payload"]["protocol"] == other => return Fits::No,
            fits => fits,
        }
    } else if left["meta"]["key"] == "l4proto" || payload("ip", "protocol") {
        holds(right, &|v| v == wire.protocol(), None)
    } else if left["ct"]["key"] == "state" {
        holds(right, &|v| v == "new", None)
    } else if left["meta"]["key"] == "iifname" || left["meta"]["key"] == "iif" {
        match holds(right, &|v| v == "lo", None) {
            // only loopback is known not to be the LAN
            Fits::Yes if right == "lo" => Fits::No,
            _ => Fits::Unknown,
        }
    } else {
        Fits::Unknown
    };
    match (value["op"].as_str(), fits) {
        (Some("!="), Fits::Yes) => Fits::No,
        (Some("!="), Fits::No) => Fits::Yes,
        (Some("==" | "in" | "!="), fits) => fits,
        _ => Fits::Unknown,
    }
}

/// Whether a value is, or a set, list or range holds, the one looked for.
fn holds(right: &Value, is: &dyn Fn(&Value) -> bool, port: Option<u16>) -> Fits {
    if let Some(list) = right["set"].as_array().or(right.as_array()) {
        let mut any = Fits::No;
        for item in list {
            match holds(item, is, port) {
                Fits::Yes => return Fits::Yes,
                Fits::Unknown => any = Fits::Unknown,
                Fits::No => {}
            }
        }
        return any;
    }
    if let (Some([first, last]), Some(port)) = (right["range"].as_array().map(Vec::as_slice), port)
    {
        return match (first.as_u64(), last.as_u64()) {
            (Some(first), Some(last)) => Fits::of((first..=last).contains(&port.into())),
            _ => Fits::Unknown,
        };
    }
    match right {
        Value::String(name) if name.starts_with('@') => Fits::Unknown,
        Value::String(_) | Value::Number(_) => Fits::of(is(right)),
        _ => Fits::Unknown,
    }
}

/// By `iptables-save`. `None`: that is no such text.
pub fn by_iptables(save: &str, wire: Wire) -> Option<Passes> {
    let filter = save.split("*filter").nth(1)?.split("COMMIT").next()?;
    let policy = filter.lines().find_map(|line| line.strip_prefix(":INPUT "))?;
    let rules = |name: &str| {
        let begins = format!("-A {name} ");
        let of = filter.lines().filter_map(|line| line.strip_prefix(&begins));
        of.map(|line| iptables_rule(line, wire)).collect()
    };
    Some(decide(&rules, "INPUT", policy.starts_with("DROP"), "iptables' chain INPUT"))
}

fn iptables_rule(line: &str, wire: Wire) -> Rule {
    let mut fits = Fits::Yes;
    let mut does = Does::Nothing;
    let mut words = words(line);
    let mut not = false;
    while let Some(word) = words.next() {
        let mut next = || words.next().unwrap_or_default();
        let one = match word {
            "!" => {
                not = true;
                continue;
            }
            "-p" => match next() {
                "all" => Fits::Yes,
                protocol => Fits::of(protocol == wire.protocol()),
            },
            "-m" => {
                // what an extension checks stands in options of its own
                let known = ["udp", "tcp", "multiport", "state", "conntrack", "comment"];
                if known.contains(&next()) { Fits::Yes } else { Fits::Unknown }
            }
            "--dport" | "--dports" => Fits::of(next().split(',').any(|part| {
                let (first, last) = part.split_once(':').unwrap_or((part, part));
                let bounds = (first.parse::<u16>(), last.parse::<u16>());
                matches!(bounds, (Ok(a), Ok(b)) if (a..=b).contains(&wire.port))
            })),
            "--state" | "--ctstate" => Fits::of(next().split(',').any(|s| s == "NEW")),
            "-i" => match next() {
                "lo" => Fits::No,
                _ => Fits::Unknown,
            },
            "-j" | "-g" => {
                does = match (word, next()) {
                    (_, "ACCEPT") => Does::Accept,
                    (_, "DROP" | "REJECT") => Does::Drop,
                    (_, "RETURN") => Does::Return,
                    (_, "LOG" | "NFLOG" | "MARK") => Does::Nothing,
                    ("-g", chain) => Does::Goto(chain.to_owned()),
                    (_, chain) => Does::Jump(chain.to_owned()),
                };
                continue;
            }
            "--comment" | "--reject-with" | "--log-prefix" | "--log-level" => {
                next();
                continue;
            }
            _ => {
                if !word.starts_with('-') {
                    continue;
                }
                next();
                Fits::Unknown
            }
        };
        fits = fits.and(match (std::mem::take(&mut not), one) {
            (true, Fits::Yes) => Fits::No,
            (true, Fits::No) => Fits::Yes,
            (_, one) => one,
        });
    }
    Rule { fits, does, text: line.trim().to_owned() }
}

/// Words of a rule; what is in quotes is one.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let end = match rest.strip_prefix('"') {
            Some(quoted) => quoted.find('"').map(|i| i + 2),
            None => rest.find(char::is_whitespace),
        };
        let (word, left) = rest.split_at(end.unwrap_or(rest.len()));
        rest = left;
        (!word.is_empty()).then_some(word)
    })
}

#[cfg(test)]
#[path = "firewall_tests.rs"]
mod tests;
