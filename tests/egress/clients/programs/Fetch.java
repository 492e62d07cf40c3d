import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;

/** Fetches URLs with Java's own client: `Fetch URL…`, one line of JSON for each. */
public class Fetch {
    public static void main(String[] urls) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (String url : urls) {
            long began = System.nanoTime();
            String result;
            try {
                HttpRequest request = HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(10)).build();
                HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
                result = "\"status\": " + answer.statusCode() + ", \"body\": " + quoted(answer.body())
                    + ", \"version\": " + quoted(answer.version().toString());
            } catch (Exception error) {
                result = "\"error\": " + quoted(error.toString());
            }
            System.out.println("{\"url\": " + quoted(url) + ", " + result + ", \"seconds\": "
                + (System.nanoTime() - began) / 1e9 + "}");
        }
    }

    private static String quoted(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n") + '"';
    }
}
