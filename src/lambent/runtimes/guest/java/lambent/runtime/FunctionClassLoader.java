package lambent.runtime;

import java.io.File;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The function's classes: the package's root, its lib/*.jar, the layers' java/lib/*.jar. AWS's interfaces come from the
 * parent, so that a copy of aws-lambda-java-core in the package is the same interface for both sides.
 */
final class FunctionClassLoader extends URLClassLoader {
    static {
        registerAsParallelCapable();
    }

    FunctionClassLoader(URL[] places, ClassLoader parent) {
        super(places, parent);
    }

    /** `layers` is where the layers' jars lie. */
    static ClassLoader create(String layers) {
        String task = System.getenv("LAMBDA_TASK_ROOT");
        File root = new File(task == null ? "/var/task" : task);
        List<URL> places = new ArrayList<URL>();
        places.add(url(root));
        addJars(new File(root, "lib"), places);
        addJars(new File(layers), places);
        ClassLoader loader = new FunctionClassLoader(places.toArray(new URL[0]), ClassLoader.getSystemClassLoader());
        Thread.currentThread().setContextClassLoader(loader);
        return loader;
    }

    private static void addJars(File directory, List<URL> places) {
        String[] names = directory.list();
        if (names == null) {
            return;
        }
        Arrays.sort(names);
        for (String name : names) {
            if (name.endsWith(".jar")) {
                places.add(url(new File(directory, name)));
            }
        }
    }

    private static URL url(File file) {
        try {
            return file.toURI().toURL();
        } catch (MalformedURLException e) {
            throw new AssertionError(e);
        }
    }
}
