//! The secret of a process group. A child of httpd sends it to a worker to prove that it is a child. A process that merely runs as
//! httpd's user (CGI, php-fpm, a worker of another group) does not know it.
//!
//! httpd's parent makes one random [`Master`] and keeps it in its memory; its children inherit it by `fork(2)` alone. The secret of a
//! group is HMAC-SHA-256 (RFC 2104) of the group's name under that key. A worker receives the secret of its own group over its private
//! channel and cannot compute those of other groups from it.

use crate::VERSION;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::fmt;
use subtle::ConstantTimeEq;

/// Length of a secret in bytes.
const LENGTH: usize = 32;

/// The random key from which the secrets of all groups are derived.
pub type Master = [u8; LENGTH];

/// The secret of a process group.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret([u8; LENGTH]);

/// Never prints the bytes: tests and logs print the structures that hold a secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// The secret of the group of this name.
    pub fn of_group(master: &Master, name: &[u8]) -> Secret {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(master).expect("HMAC takes a key of any length");
        mac.update(name);
        Secret(mac.finalize().into_bytes().into())
    }

    /// Length of a [proof](Secret::proof) in bytes.
    pub const PROOF: usize = 4 + LENGTH;

    /// The first bytes on a connection, from the child to the worker: the version of the frames, and the secret.
    pub fn proof(&self) -> [u8; Secret::PROOF] {
        let mut bytes = [0; Secret::PROOF];
        bytes[..4].copy_from_slice(&VERSION.to_le_bytes());
        bytes[4..].copy_from_slice(&self.0);
        bytes
    }

    /// Whether these bytes are the proof. Compares in constant time.
    pub fn is_proved_by(&self, bytes: &[u8; Secret::PROOF]) -> bool {
        self.proof().ct_eq(bytes).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_has_a_secret_of_its_own() {
        let master = [7; LENGTH];
        let (site, other) =
            (Secret::of_group(&master, b"site"), Secret::of_group(&master, b"other"));
        assert!(site != other && site == Secret::of_group(&master, b"site"));
        assert!(site != Secret::of_group(&[8; LENGTH], b"site"));
        assert!(site.is_proved_by(&site.proof()) && !site.is_proved_by(&other.proof()));
        assert_eq!(format!("{site:?}"), "Secret");
    }

    #[test]
    fn every_byte_of_a_proof_counts() {
        let secret = Secret::of_group(&[1; LENGTH], b"g");
        for at in 0..Secret::PROOF {
            let mut proof = secret.proof();
            proof[at] ^= 1;
            assert!(!secret.is_proved_by(&proof), "{at}");
        }
    }
}
