import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

/**
 * Calls a gateway with Java's own client as it is by default, which offers h2c with every first
 * request. Prints the status and body of each answer on a line of its own.
 */
public class Calls {
  public static void main(String[] arguments) throws Exception {
    HttpClient client = HttpClient.newHttpClient();
    URI uri = URI.create(arguments[0]);
    HttpRequest get = HttpRequest.newBuilder(uri).GET().build();
    HttpRequest post =
        HttpRequest.newBuilder(uri).POST(BodyPublishers.ofString("h".repeat(100_000))).build();
    HttpRequest expecting =
        HttpRequest.newBuilder(uri)
            .expectContinue(true)
            .POST(BodyPublishers.ofByteArray(new byte[2_000_000]))
            .build();
    for (HttpRequest request : new HttpRequest[] {post, get, expecting}) {
      var response = client.send(request, BodyHandlers.ofString());
      System.out.println(response.statusCode() + " " + response.body());
    }
    HttpRequest first = HttpRequest.newBuilder(uri).GET().build();
    var fresh = HttpClient.newHttpClient().send(first, BodyHandlers.ofString());
    System.out.println(fresh.statusCode() + " " + fresh.body());
  }
}
