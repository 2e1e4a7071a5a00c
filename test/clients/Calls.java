import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.Arrays;

/** Calls each URL CALLS times, one after another: java Calls.java CALLS URL... */
public class Calls {
  public static void main(String[] arguments) throws Exception {
    int calls = Integer.parseInt(arguments[0]);
    HttpClient client = HttpClient.newHttpClient();
    for (String url : Arrays.copyOfRange(arguments, 1, arguments.length)) {
      HttpRequest request =
          HttpRequest.newBuilder(URI.create(url)).header("Authorization", "Token a").build();
      for (int i = 0; i < calls; i++) {
        var response = client.send(request, BodyHandlers.ofString());
        System.out.println(response.statusCode() + " " + url);
      }
    }
  }
}
