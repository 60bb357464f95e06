//! Keys and the Noise handshake: all that touches cryptography, and nothing that decides by it.
//!
//! `snow` does the work. Its randomness comes from [`Rng`], which is fed once from outside: the
//! core has no source of its own, and a simulation runs the same way each time.

use blake2::Blake2s256;
use blake2::digest::Digest;
use snow::params::{
    BaseChoice, CipherChoice, DHChoice, HandshakeChoice, HandshakeModifierList, HandshakePattern,
    HashChoice, NoiseParams,
};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};

/// What is spoken, by the Noise specification's name.
pub const PATTERN: &str = "Noise_XX_25519_ChaChaPoly_BLAKE2s";
/// Bound into every handshake: whoever means something else by these bytes fails.
const PROLOGUE: &[u8] = b"klatsch link 1";
/// Bytes that sealing adds.
pub const TAG: usize = 16;
/// Groups of five digits in a short code.
const CODE_GROUPS: usize = 6;

/// A generator whose output nobody can tell from random who does not know its seed: BLAKE2s
/// over state and count; the state is replaced after each use, so that what was made earlier
/// cannot be found from it.
#[derive(Clone)]
pub struct Rng {
    state: [u8; 32],
}

impl Rng {
    /// From 32 bytes of the kernel's.
    pub fn new(seed: [u8; 32]) -> Rng {
        Rng { state: seed }
    }

    /// Fills `to`.
    pub fn fill(&mut self, to: &mut [u8]) {
        for (n, piece) in to.chunks_mut(32).enumerate() {
            let block = hash(&[b"out", &self.state, &(n as u64).to_be_bytes()]);
            piece.copy_from_slice(&block[..piece.len()]);
        }
        self.state = hash(&[b"next", &self.state]);
    }

    /// 32 bytes.
    pub fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.fill(&mut bytes);
        bytes
    }

    /// A number.
    pub fn u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    /// A number below `limit` (0 for 0); for jitter, not evenly distributed to the last bit.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.u64().checked_rem(limit).unwrap_or(0)
    }
}

impl Random for Rng {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        self.fill(dest);
        Ok(())
    }
}

/// BLAKE2s-256 over all the parts in turn.
pub fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Blake2s256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// A box's static secret.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl Secret {
    /// From 32 random bytes, or those of a backup. Any bytes are a key: X25519 clamps them.
    pub fn new(bytes: [u8; 32]) -> Secret {
        Secret(bytes)
    }

    /// The bytes, for the key file and the backup.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public key of it.
    pub fn public(&self) -> Key {
        let mut dh = curve();
        dh.set(&self.0);
        let mut key = [0; 32];
        key.copy_from_slice(dh.pubkey());
        Key(key)
    }

    /// What only the two owners of these keys know; none for a key that gives nothing away to
    /// anybody but zeros (RFC 7748, section 6.1).
    pub fn shared(&self, other: &Key) -> Option<[u8; 32]> {
        let mut dh = curve();
        dh.set(&self.0);
        let mut shared = [0; 32];
        dh.dh(&other.0, &mut shared).ok()?;
        (shared != [0; 32]).then_some(shared)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn curve() -> Box<dyn Dh> {
    DefaultResolver.resolve_dh(&DHChoice::Curve25519).expect("snow is built with use-curve25519")
}

/// A box's public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub [u8; 32]);

impl Key {
    /// Its short name: 128 bits, so that nobody makes another key of the same name.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut print = [0; 16];
        print.copy_from_slice(&hash(&[b"klatsch fingerprint", &self.0])[..16]);
        Fingerprint(print)
    }
}

/// Names a key, and so a box; written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 16]);

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Fingerprint, &'static str> {
        let bad = "not a fingerprint: 32 hexadecimal digits, as STATUS of the other box shows";
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad);
        }
        let mut print = [0; 16];
        for (n, byte) in print.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * n..2 * n + 2], 16).map_err(|_| bad)?;
        }
        Ok(Fingerprint(print))
    }
}

/// The code that two people compare: the same on both boxes exactly if each has the other's
/// key. 30 digits are 99 bits; a pair of keys that collide costs 2^50 tries.
pub fn short_code(a: &Key, b: &Key) -> String {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    let hash = hash(&[b"klatsch verify", &low.0, &high.0]);
    let group = |n: usize| {
        let mut word = [0; 8];
        word[3..].copy_from_slice(&hash[5 * n..5 * n + 5]);
        format!("{:05}", u64::from_be_bytes(word) % 100_000)
    };
    (0..CODE_GROUPS).map(group).collect::<Vec<_>>().join(" ")
}

/// snow's primitives with our randomness.
struct Resolver(Rng);

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(self.0.clone()))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        // named here, so that BLAKE2b is no part of the program
        matches!(choice, HashChoice::Blake2s)
            .then(|| DefaultResolver.resolve_hash(&HashChoice::Blake2s))?
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

/// What [`PATTERN`] names, without what would read any other name.
fn pattern() -> NoiseParams {
    let modifiers = HandshakeModifierList { list: Vec::new() };
    NoiseParams::new(
        PATTERN.into(),
        BaseChoice::Noise,
        HandshakeChoice { pattern: HandshakePattern::XX, modifiers },
        DHChoice::Curve25519,
        CipherChoice::ChaChaPoly,
        HashChoice::Blake2s,
    )
}

/// What came is not what the other end of this handshake or session would have sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged;

/// A handshake under way: three messages, the initiator's first.
pub struct Handshake(snow::HandshakeState);

impl Handshake {
    /// Begins one. `rng` is used up by it: give each its own.
    pub fn new(initiator: bool, secret: &Secret, rng: Rng) -> Handshake {
        let builder = snow::Builder::with_resolver(pattern(), Box::new(Resolver(rng)))
            .local_private_key(&secret.0)
            .and_then(|b| b.prologue(PROLOGUE))
            .expect("each is set once");
        let state = if initiator { builder.build_initiator() } else { builder.build_responder() };
        Handshake(state.expect("the key has 32 bytes and the primitives are there"))
    }

    /// Our next message.
    pub fn write(&mut self) -> Vec<u8> {
        let mut message = vec![0; 128]; // the longest has 96 bytes
        let len = self.0.write_message(&[], &mut message).expect("it is our turn, and it fits");
        message.truncate(len);
        message
    }

    /// Their next message.
    ///
    /// # Errors
    /// It is none, or not made for this handshake.
    pub fn read(&mut self, message: &[u8]) -> Result<(), Forged> {
        let mut payload = vec![0; message.len()];
        self.0.read_message(message, &mut payload).map(drop).map_err(|_| Forged)
    }

    /// Whether it is our turn to write.
    pub fn is_ours(&self) -> bool {
        self.0.is_my_turn()
    }

    /// Once all three messages went: the other's key, proven, and the session's ciphers.
    pub fn finish(self) -> Option<(Key, Transport)> {
        if !self.0.is_handshake_finished() {
            return None;
        }
        let mut key = [0; 32];
        key.copy_from_slice(self.0.get_remote_static()?);
        Some((Key(key), Transport(self.0.into_transport_mode().ok()?)))
    }

    /// Whether all three messages went.
    pub fn is_finished(&self) -> bool {
        self.0.is_handshake_finished()
    }
}

/// A session's ciphers.
pub struct Transport(snow::TransportState);

impl Transport {
    /// Seals a record at the end of `to`: [`TAG`] bytes more than `plain` has.
    ///
    /// # Errors
    /// It is too long for one (65,535 bytes sealed), or the session is used up; what then stands at
    /// the end is to be taken off.
    pub fn seal(&mut self, plain: &[u8], to: &mut Vec<u8>) -> Result<(), Forged> {
        let at = to.len();
        // something to be written over: copied, which is faster than zeros one by one
        to.extend_from_slice(plain);
        to.extend_from_slice(&[0; TAG]);
        self.0.write_message(plain, &mut to[at..]).map(drop).map_err(|_| Forged)
    }

    /// Opens a record.
    ///
    /// # Errors
    /// It is not the next that the other end sealed.
    pub fn open(&mut self, sealed: &[u8]) -> Result<Vec<u8>, Forged> {
        let mut plain = vec![0; sealed.len()];
        let len = self.0.read_message(sealed, &mut plain).map_err(|_| Forged)?;
        plain.truncate(len);
        Ok(plain)
    }

    /// Another key for what we seal; the other end was told by the last record.
    pub fn rekey_out(&mut self) {
        self.0.rekey_outgoing();
    }

    /// Another key for what we open.
    pub fn rekey_in(&mut self) {
        self.0.rekey_incoming();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_is_what_its_name_says() {
        assert_eq!(Ok(pattern()), PATTERN.parse().map_err(drop));
    }

    fn secret(n: u8) -> Secret {
        Secret::new([n; 32])
    }

    fn pair() -> (Handshake, Handshake) {
        (
            Handshake::new(true, &secret(1), Rng::new([3; 32])),
            Handshake::new(false, &secret(2), Rng::new([4; 32])),
        )
    }

    fn sessions() -> (Transport, Transport) {
        let (mut a, mut b) = pair();
        b.read(&a.write()).unwrap();
        a.read(&b.write()).unwrap();
        b.read(&a.write()).unwrap();
        let (of_b, a) = a.finish().unwrap();
        let (of_a, b) = b.finish().unwrap();
        assert_eq!((of_a, of_b), (secret(1).public(), secret(2).public()));
        (a, b)
    }

    fn sealed(by: &mut Transport, plain: &[u8]) -> Vec<u8> {
        let mut record = Vec::new();
        by.seal(plain, &mut record).unwrap();
        assert_eq!(record.len(), plain.len() + TAG);
        record
    }

    #[test]
    fn both_ends_prove_their_keys_and_read_each_other() {
        let (mut a, mut b) = sessions();
        let record = sealed(&mut a, b"hello");
        assert_eq!(b.open(&record).unwrap(), b"hello");
        a.rekey_out();
        b.rekey_in();
        let record = sealed(&mut a, b"again");
        assert_eq!(b.open(&record).unwrap(), b"again");
    }

    #[test]
    fn no_bit_of_a_record_can_be_changed_and_none_is_taken_twice() {
        for bit in 0..(5 + TAG) * 8 {
            let (mut a, mut b) = sessions();
            let mut record = sealed(&mut a, b"hello");
            record[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(b.open(&record), Err(Forged), "bit {bit}");
        }
        let (mut a, mut b) = sessions();
        let record = sealed(&mut a, b"hello");
        assert!(b.open(&record).is_ok());
        assert_eq!(b.open(&record), Err(Forged));
    }

    #[test]
    fn the_same_seed_makes_the_same_handshake_and_another_seed_another() {
        let first = Handshake::new(true, &secret(1), Rng::new([3; 32])).write();
        assert_eq!(first, Handshake::new(true, &secret(1), Rng::new([3; 32])).write());
        assert_ne!(first, Handshake::new(true, &secret(1), Rng::new([5; 32])).write());
    }

    #[test]
    fn the_key_pair_of_rfc_7748_comes_out() {
        // section 6.1, Alice's
        let secret = [
            0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2,
            0x66, 0x45, 0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5,
            0x1d, 0xb9, 0x2c, 0x2a,
        ];
        let public = [
            0x85, 0x20, 0xf0, 0x09, 0x89, 0x30, 0xa7, 0x54, 0x74, 0x8b, 0x7d, 0xdc, 0xb4, 0x3e,
            0xf7, 0x5a, 0x0d, 0xbf, 0x3a, 0x0d, 0x26, 0x38, 0x1a, 0xf4, 0xeb, 0xa4, 0xa9, 0x8e,
            0xaa, 0x9b, 0x4e, 0x6a,
        ];
        assert_eq!(Secret::new(secret).public(), Key(public));
    }

    #[test]
    fn codes_agree_on_both_sides_and_differ_for_another_key() {
        let (a, b, c) = (secret(1).public(), secret(2).public(), secret(3).public());
        assert_eq!(short_code(&a, &b), short_code(&b, &a));
        assert_ne!(short_code(&a, &b), short_code(&a, &c));
        assert_eq!(short_code(&a, &b).len(), 35);
    }

    #[test]
    fn a_fingerprint_reads_back_and_nothing_else_does() {
        let print = secret(1).public().fingerprint();
        assert_eq!(print.to_string().parse(), Ok(print));
        for bad in [
            "",
            "00",
            "+0000000000000000000000000000000",
            &"g".repeat(32),
            "é0000000000000000000000000000000",
        ] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
