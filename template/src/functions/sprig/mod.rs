//! The functions of sprig v3 that give the same for the same arguments, under the prefix `sprig_`.

mod cast;
mod defaults;
mod dicts;
mod lists;
mod numbers;
mod paths;
mod strings;
mod words;

use super::signature::Function;

pub(super) fn find(name: &str) -> Option<Function> {
    strings::find(name)
        .or_else(|| words::find(name))
        .or_else(|| lists::find(name))
        .or_else(|| dicts::find(name))
        .or_else(|| defaults::find(name))
        .or_else(|| numbers::find(name))
        .or_else(|| paths::find(name))
}

/// Why a function of sprig is not offered.
pub(super) fn refused(name: &str) -> Option<&'static str> {
    Some(match name {
        "bcrypt"
        | "htpasswd"
        | "genPrivateKey"
        | "derivePassword"
        | "buildCustomCert"
        | "genCA"
        | "genCAWithKey"
        | "genSelfSignedCert"
        | "genSelfSignedCertWithKey"
        | "genSignedCert"
        | "genSignedCertWithKey"
        | "encryptAES" => {
            "it gives something else each time, so that the file would change at every rendering; let Vault make it (pki, transit)"
        }
        "decryptAES" => "keys do not belong into templates; use transit/decrypt",
        "now" | "date" | "date_in_zone" | "date_modify" | "dateInZone" | "dateModify" | "htmlDate"
        | "htmlDateInZone" => {
            "it depends on the clock and was dropped from the real engine too; use timestamp"
        }
        "ago" | "duration" | "durationRound" | "mustDateModify" | "must_date_modify" | "mustToDate"
        | "toDate" | "unixEpoch" => "times are not offered here; use timestamp",
        "randAlpha" | "randAlphaNum" | "randAscii" | "randBytes" | "randInt" | "randNumeric" | "shuffle"
        | "uuidv4" => "it is random, so that the file would change at every rendering",
        "env" | "expandenv" => "it was dropped from the real engine too; use env",
        "getHostByName" => "it depends on the network and was dropped from the real engine too",
        "semver" | "semverCompare" => "versions are not offered here",
        "urlJoin" | "urlParse" => "URLs are not taken apart here; use split or regexReplaceAll",
        "abbrevboth" | "camelcase" | "kebabcase" | "snakecase" | "wrap" | "wrapWith" => {
            "it is not offered here; regexReplaceAll can do much of it"
        }
        "add1f" | "addf" | "divf" | "mulf" | "subf" => {
            "it is not offered here; add, divide and so on take floats"
        }
        _ => return None,
    })
}
