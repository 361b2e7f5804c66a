//! How well a gateway is configured in the eyes of the directory: the part of its score that depends on what it says of itself.

use anyhow::{Context, Result};
use cosmwasm_std::coin;
use nym_api_requests::models::described::v3::NymNodeDescriptionV3;
use nym_config_score::{ConfigScoreBreakdown, ConfigScoreCalculator, NodeConfigInputs};
use nym_mixnet_contract_common::{
    ConfigScoreParams, HistoricalNymNodeVersion, HistoricalNymNodeVersionEntry, OutdatedVersionWeights,
    VersionScoreFormulaParams,
};

/// What an account has to have, in the smallest unit: 1 NYM.
const MINIMUM: u128 = 1_000_000;
const UNIT: &str = "unym";

/// What a gateway loses of its score that names no account with enough on it.
const PENALTY: f64 = 0.2;

/// The score if these are the releases of nym-node, the oldest first. An account that is named has just enough on it.
///
/// # Errors
/// If a release is no version.
pub fn score(described: &NymNodeDescriptionV3, releases: &[&str]) -> Result<ConfigScoreBreakdown> {
    let params = ConfigScoreParams {
        version_weights: OutdatedVersionWeights::default(),
        version_score_formula_params: VersionScoreFormulaParams::default(),
    };
    let calculator = ConfigScoreCalculator::new(coin(MINIMUM, UNIT), PENALTY, params, history(releases)?);
    let details = &described.description.auxiliary_details;
    Ok(calculator.score(&NodeConfigInputs {
        reported_version: described.version().parse().ok(),
        accepted_terms: details.accepted_operator_terms_and_conditions,
        balance: details.address.as_ref().map(|_| coin(MINIMUM, UNIT)),
        is_feegrant_grantee: false,
    }))
}

/// As the mixnet contract keeps it.
fn history(releases: &[&str]) -> Result<Vec<HistoricalNymNodeVersionEntry>> {
    let mut history: Vec<HistoricalNymNodeVersionEntry> = Vec::new();
    for (id, release) in (0..).zip(releases) {
        let version: semver::Version = release.parse().with_context(|| format!("`{release}` is no version"))?;
        let mut information = HistoricalNymNodeVersion::genesis(version.to_string(), u64::from(id));
        if let Some(before) = history.last() {
            information.difference_since_genesis =
                before.version_information.cumulative_difference_since_genesis(&version);
        }
        history.push((id, information).into());
    }
    Ok(history)
}
