//! The Workload API as the crate spiffe uses it. Each command prints one JSON object for each answer.

use std::collections::BTreeMap;
use std::error::Error;

use futures::StreamExt;
use spiffe::{JwtSvid, SpiffeId, WorkloadApiClient, X509BundleSet};

type Outcome = Result<(), Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["watch"] => watch().await,
        ["jwt", audience, id] => jwt(audience, id).await,
        ["bundles"] => bundles().await,
        _ => Err("usage: watch | jwt AUDIENCE SPIFFE_ID | bundles".into()),
    };
    if let Err(error) = outcome {
        println!("{{\"error\":{:?}}}", error.to_string());
    }
}

/// The whole X.509 context, and again on each change, until the stream ends.
async fn watch() -> Outcome {
    let client = WorkloadApiClient::connect_env().await?;
    let mut contexts = std::pin::pin!(client.stream_x509_contexts().await?);
    while let Some(context) = contexts.next().await {
        let context = context?;
        let svids: Vec<String> = context
            .svids()
            .iter()
            .map(|svid| format!("[{:?},{:?}]", svid.spiffe_id().to_string(), svid.hint().unwrap_or("")))
            .collect();
        println!("{{\"svids\":[{}],\"roots\":{}}}", svids.join(","), roots(context.bundle_set()));
    }
    Ok(())
}

/// A token for an audience, checked by the server and with the bundles that were fetched.
async fn jwt(audience: &str, id: &str) -> Outcome {
    let client = WorkloadApiClient::connect_env().await?;
    let svid = client.fetch_jwt_svid([audience], Some(&SpiffeId::new(id)?)).await?;
    let there = client.validate_jwt_token(audience, svid.token()).await?;
    let bundles = client.fetch_jwt_bundles().await?;
    let here = JwtSvid::parse_and_validate(svid.token(), &bundles, &[audience])?;
    let (here, there) = (here.spiffe_id().to_string(), there.spiffe_id().to_string());
    println!("{{\"here\":{here:?},\"there\":{there:?}}}");
    Ok(())
}

async fn bundles() -> Outcome {
    let client = WorkloadApiClient::connect_env().await?;
    let x509 = client.fetch_x509_bundles().await?;
    let jwt = client.fetch_jwt_bundles().await?;
    let keys = jwt.iter().map(|(domain, bundle)| (domain.to_string(), bundle.jwt_authorities().count()));
    println!("{{\"roots\":{},\"keys\":{}}}", roots(&x509), object(keys.collect()));
    Ok(())
}

fn roots(set: &X509BundleSet) -> String {
    object(set.iter().map(|(domain, bundle)| (domain.to_string(), bundle.authorities().len())).collect())
}

fn object(counts: BTreeMap<String, usize>) -> String {
    let members: Vec<String> = counts.iter().map(|(name, count)| format!("{name:?}:{count}")).collect();
    format!("{{{}}}", members.join(","))
}
