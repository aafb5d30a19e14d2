package hanzo.stream;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import javax.crypto.SecretKeyFactory;
import javax.crypto.spec.PBEKeySpec;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.NameCallback;
import javax.security.auth.callback.UnsupportedCallbackException;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.plain.PlainAuthenticateCallback;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * SASL/PLAIN users from a folder (option users_dir): one file per user, one accepted password per line as
 * pbkdf2-sha256:ITERATIONS:SALT:HASH, the last two in base64. Two lines while a password is rotated. The file is read
 * at every login, so a change needs no restart.
 *
 * With option used_dir, a folder of this broker alone, each login is noted there in a file of the user's name. Its lines:
 * "since MS", when the file was begun, and "SALT MS" for each accepted password, when it was last used (epoch
 * milliseconds by this host's clock).
 */
public class FileUsers implements AuthenticateCallbackHandler {
    private static final String NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"; // no path leads out of the folder
    private static final int LINES_MAX = 2;
    private static final int ITERATIONS_MAX = 1_000_000;

    private static final String SINCE = "since";
    private static final Object NOTING = new Object(); // every listener has a handler; they share the folder
    private static final Set<String> UNNOTED = new HashSet<>(); // users with a login that could not be noted
    private static final Logger LOG = LoggerFactory.getLogger(FileUsers.class);

    private Path folder;
    private Path used; // null: logins are not noted

    @Override
    public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {
        Map<String, ?> options = entries.get(0).getOptions();
        folder = Path.of((String) options.get("users_dir"));
        used = options.containsKey("used_dir") ? Path.of((String) options.get("used_dir")) : null;
        if (used != null && !(Files.isDirectory(used) && Files.isWritable(used))) {
            throw new IllegalArgumentException("used_dir " + used + " is not a folder that the broker may write to");
        }
    }

    @Override
    public void handle(Callback[] callbacks) throws IOException, UnsupportedCallbackException {
        String user = null;
        for (Callback callback : callbacks) {
            if (callback instanceof NameCallback name) {
                user = name.getDefaultName();
            } else if (callback instanceof PlainAuthenticateCallback login) {
                login.authenticated(accepts(user, login.password()));
            } else {
                throw new UnsupportedCallbackException(callback);
            }
        }
    }

    @Override
    public void close() {}

    private boolean accepts(String user, char[] password) throws IOException {
        if (user == null || !user.matches(NAME) || password.length == 0) {
            return false;
        }
        Path file = folder.resolve(user);
        if (!Files.isRegularFile(file)) {
            return false;
        }
        List<String> lines = Files.readAllLines(file, StandardCharsets.UTF_8);
        List<String> salts = new ArrayList<>();
        String accepted = null;
        for (String line : lines.subList(0, Math.min(LINES_MAX, lines.size()))) {
            String[] parts = line.strip().split(":");
            if (parts.length == 4 && parts[0].equals("pbkdf2-sha256")) {
                salts.add(parts[2]);
                accepted = matches(parts, password) ? parts[2] : accepted;
            }
        }
        if (accepted != null && used != null) {
            note(user, salts, accepted);
        }
        return accepted != null;
    }

    /** Note a login. Where one could not be noted, the file begins anew: nobody knows who logged in meanwhile. */
    private void note(String user, List<String> salts, String accepted) {
        synchronized (NOTING) {
            String now = Long.toString(System.currentTimeMillis());
            List<String> lines = new ArrayList<>();
            try {
                Path file = used.resolve(user);
                boolean whole = Files.exists(file) && !UNNOTED.contains(user);
                for (String line : whole ? Files.readAllLines(file) : List.of(SINCE + " " + now)) {
                    String about = line.split(" ")[0];
                    if (about.equals(SINCE) || (salts.contains(about) && !about.equals(accepted))) {
                        lines.add(line);
                    }
                }
                lines.add(accepted + " " + now);
                Path made = Files.write(used.resolve("." + user + ".new"), lines);
                Files.move(made, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
                UNNOTED.remove(user);
            } catch (IOException error) {
                UNNOTED.add(user);
                LOG.error("The login of {} is not noted in {}: {}", user, used, error.toString());
            }
        }
    }

    private static boolean matches(String[] parts, char[] password) {
        try {
            int iterations = Math.min(ITERATIONS_MAX, Integer.parseInt(parts[1]));
            byte[] salt = Base64.getDecoder().decode(parts[2]);
            byte[] wanted = Base64.getDecoder().decode(parts[3]);
            PBEKeySpec key = new PBEKeySpec(password, salt, iterations, 8 * wanted.length);
            byte[] made = SecretKeyFactory.getInstance("PBKDF2WithHmacSHA256").generateSecret(key).getEncoded();
            key.clearPassword();
            return MessageDigest.isEqual(made, wanted);
        } catch (IllegalArgumentException | GeneralSecurityException error) {
            return false; // a line that nobody can read lets nobody in
        }
    }
}
