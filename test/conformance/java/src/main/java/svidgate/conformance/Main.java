package svidgate.conformance;

import io.spiffe.bundle.jwtbundle.JwtBundleSet;
import io.spiffe.bundle.x509bundle.X509BundleSet;
import io.spiffe.spiffeid.SpiffeId;
import io.spiffe.svid.jwtsvid.JwtSvid;
import io.spiffe.workloadapi.DefaultWorkloadApiClient;
import io.spiffe.workloadapi.Watcher;
import io.spiffe.workloadapi.WorkloadApiClient;
import io.spiffe.workloadapi.X509Context;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Collectors;

/** The Workload API as java-spiffe uses it, over a Unix socket. Each command prints one JSON object for each answer. */
public final class Main {
  public static void main(String[] arguments) throws Exception {
    try (WorkloadApiClient client = DefaultWorkloadApiClient.newClient()) {
      switch (arguments[0]) {
        case "watch" -> watch(client);
        case "jwt" -> jwt(client, arguments[1], arguments[2]);
        case "bundles" -> bundles(client);
        default -> throw new IllegalArgumentException("usage: watch | jwt AUDIENCE SPIFFE_ID | bundles");
      }
    } catch (Exception error) {
      say("{\"error\":" + text(error.getMessage() + ": " + error.getCause()) + "}");
    }
    System.exit(0);
  }

  /** The whole X.509 context, and again on each change, for ever. */
  private static void watch(WorkloadApiClient client) throws Exception {
    client.watchX509Context(
        new Watcher<X509Context>() {
          @Override
          public void onUpdate(X509Context update) {
            String svids =
                update.getX509Svids().stream()
                    .map(svid -> "[" + text(svid.getSpiffeId().toString()) + "," + text(svid.getHint()) + "]")
                    .collect(Collectors.joining(","));
            say("{\"svids\":[" + svids + "],\"roots\":" + roots(update.getX509BundleSet()) + "}");
          }

          @Override
          public void onError(Throwable error) {
            say("{\"error\":" + text(String.valueOf(error.getCause())) + "}");
          }
        });
    new CountDownLatch(1).await();
  }

  /** A token for an audience, checked by the server and with the bundles that were fetched. */
  private static void jwt(WorkloadApiClient client, String audience, String id) throws Exception {
    JwtSvid svid = client.fetchJwtSvid(SpiffeId.parse(id), audience);
    JwtSvid there = client.validateJwtSvid(svid.getToken(), audience);
    JwtSvid here = JwtSvid.parseAndValidate(svid.getToken(), client.fetchJwtBundles(), java.util.Set.of(audience));
    say("{\"here\":" + text(here.getSpiffeId().toString()) + ",\"there\":" + text(there.getSpiffeId().toString()) + "}");
  }

  private static void bundles(WorkloadApiClient client) throws Exception {
    JwtBundleSet jwt = client.fetchJwtBundles();
    Map<String, Integer> keys = new TreeMap<>();
    jwt.getBundles().forEach((domain, bundle) -> keys.put(domain.getName(), bundle.getJwtAuthorities().size()));
    say("{\"roots\":" + roots(client.fetchX509Bundles()) + ",\"keys\":" + json(keys) + "}");
  }

  private static String roots(X509BundleSet set) {
    Map<String, Integer> roots = new TreeMap<>();
    set.getBundles().forEach((domain, bundle) -> roots.put(domain.getName(), bundle.getX509Authorities().size()));
    return json(roots);
  }

  private static String json(Map<String, Integer> map) {
    return map.entrySet().stream()
        .map(entry -> text(entry.getKey()) + ":" + entry.getValue())
        .collect(Collectors.joining(",", "{", "}"));
  }

  private static String text(String value) {
    return value == null ? "\"\"" : "\"" + value.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", " ") + "\"";
  }

  private static void say(String line) {
    System.out.println(line);
    System.out.flush();
  }
}
