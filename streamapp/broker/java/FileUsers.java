package hanzo.stream;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import javax.crypto.SecretKeyFactory;
import javax.crypto.spec.PBEKeySpec;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.NameCallback;
import javax.security.auth.callback.UnsupportedCallbackException;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.plain.PlainAuthenticateCallback;

/**
 * SASL/PLAIN users from a folder (option users_dir): one file per user, one accepted password per line as
 * pbkdf2-sha256:ITERATIONS:SALT:HASH, the last two in base64. Two lines while a password is rotated. The file is read
 * at every login, so a change needs no restart.
 */
public class FileUsers implements AuthenticateCallbackHandler {
    private static final String NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"; // no path leads out of the folder
    private static final int LINES_MAX = 2;
    private static final int ITERATIONS_MAX = 1_000_000;

    private Path folder;

    @Override
    public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {
        folder = Path.of((String) entries.get(0).getOptions().get("users_dir"));
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
        boolean accepted = false;
        for (String line : lines.subList(0, Math.min(LINES_MAX, lines.size()))) {
            accepted |= matches(line.strip().split(":"), password);
        }
        return accepted;
    }

    private static boolean matches(String[] parts, char[] password) {
        if (parts.length != 4 || !parts[0].equals("pbkdf2-sha256")) {
            return false;
        }
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
