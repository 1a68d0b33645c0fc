import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import org.opensearch.analysis.common.CommonAnalysisPlugin;
import org.opensearch.common.logging.LogConfigurator;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.index.mapper.MapperExtrasPlugin;
import org.opensearch.index.rankeval.RankEvalPlugin;
import org.opensearch.index.reindex.ReindexPlugin;
import org.opensearch.ingest.common.IngestCommonPlugin;
import org.opensearch.ingest.useragent.IngestUserAgentPlugin;
import org.opensearch.join.ParentJoinPlugin;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.painless.PainlessPlugin;
import org.opensearch.percolator.PercolatorPlugin;
import org.opensearch.plugin.repository.url.URLRepositoryPlugin;
import org.opensearch.plugins.Plugin;
import org.opensearch.script.expression.ExpressionPlugin;
import org.opensearch.script.mustache.MustachePlugin;
import org.opensearch.search.aggregations.matrix.MatrixAggregationPlugin;
import org.opensearch.transport.Netty4Plugin;

/**
 * One OpenSearch node with the modules that Maven Central has, which the distribution would load from folders of their
 * own. Settings come from opensearch.yml, over them variables such as {@code cluster.name}, over them {@code -Ename=value}.
 */
public final class Server extends Node {
    private static final Path HOME = Path.of("/usr/share/opensearch");
    private static final Pattern SETTING = Pattern.compile("[a-z0-9_]+\\.[a-z0-9_.]+");
    /** As it was before logging took it over. */
    private static final PrintStream SAID = System.err;
    private static final String SECURITY = "plugins.security.";
    private static final List<Class<? extends Plugin>> MODULES = List.of(
        CommonAnalysisPlugin.class,
        ExpressionPlugin.class,
        IngestCommonPlugin.class,
        IngestUserAgentPlugin.class,
        MapperExtrasPlugin.class,
        MatrixAggregationPlugin.class,
        MustachePlugin.class,
        Netty4Plugin.class,
        PainlessPlugin.class,
        ParentJoinPlugin.class,
        PercolatorPlugin.class,
        RankEvalPlugin.class,
        ReindexPlugin.class,
        URLRepositoryPlugin.class
    );

    private Server(Environment environment) {
        super(environment, MODULES, false);
    }

    public static void main(String[] arguments) {
        try {
            serve(settings(arguments, System.getenv()));
        } catch (Exception problem) {
            SAID.println("opensearch image: " + rootCause(problem));
            Runtime.getRuntime().halt(1);
        }
    }

    private static void serve(Map<String, String> settings) throws Exception {
        Supplier<String> name = () -> System.getenv().getOrDefault("HOSTNAME", "opensearch");
        Settings paths = Settings.builder().put("path.home", HOME).put("path.data", HOME.resolve("data"))
            .put("path.logs", HOME.resolve("logs")).build();
        Environment environment = InternalSettingsPreparer.prepareEnvironment(paths, settings, HOME.resolve("config"), name);
        LogConfigurator.setNodeName(Node.NODE_NAME_SETTING.get(environment.settings()));
        LogConfigurator.configure(environment);
        Server server = new Server(environment);
        CountDownLatch closed = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> server.end(closed), "shutdown"));
        server.start();
        closed.await();
    }

    /** What variables and arguments set; what only the security plugin knows is left out when it says "disabled". */
    static Map<String, String> settings(String[] arguments, Map<String, String> variables) {
        Map<String, String> found = new TreeMap<>();
        variables.forEach((name, value) -> {
            if (!value.isEmpty() && (SETTING.matcher(name).matches() || name.equals("processors"))) {
                found.put(name.equals("processors") ? "node.processors" : name, value);
            }
        });
        for (String argument : arguments) {
            int equals = argument.indexOf('=');
            if (!argument.startsWith("-E") || equals < 3) {
                throw new IllegalArgumentException("argument '" + argument + "' is not known: give -Ename=value");
            }
            found.put(argument.substring(2, equals), argument.substring(equals + 1));
        }
        String disabled = found.getOrDefault(SECURITY + "disabled", "true");
        found.keySet().removeIf(name -> name.startsWith(SECURITY));
        if (!disabled.equals("true")) {
            throw new IllegalArgumentException("there is no security plugin in this image: set " + SECURITY + "disabled=true");
        }
        return found;
    }

    private void end(CountDownLatch closed) {
        try {
            close();
        } catch (IOException problem) {
            SAID.println("opensearch image: not closed cleanly: " + problem);
        }
        closed.countDown();
    }

    private static String rootCause(Throwable problem) {
        Throwable cause = problem;
        while (cause.getCause() != null) {
            cause = cause.getCause();
        }
        return cause.getMessage() == null ? cause.toString() : cause.getMessage();
    }
}
