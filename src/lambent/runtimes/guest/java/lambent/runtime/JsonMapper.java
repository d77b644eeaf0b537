package lambent.runtime;

import com.amazonaws.services.lambda.runtime.CustomPojoSerializer;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.lang.reflect.Type;
import java.nio.charset.StandardCharsets;
import java.util.Iterator;
import java.util.ServiceLoader;

/** JSON to objects and back: Lambent's own mapper, or the one that the function brings. */
class JsonMapper {
    private static final String SERVICE = "META-INF/services/com.amazonaws.services.lambda.runtime.CustomPojoSerializer";

    Object read(byte[] json, Type type) {
        return Binder.bind(Json.parse(new String(json, StandardCharsets.UTF_8)), type);
    }

    byte[] write(Object value, Type type) {
        return Json.write(value);
    }

    static JsonMapper forFunction(ClassLoader loader) {
        if (loader.getResource(SERVICE) == null) {
            return new JsonMapper();
        }
        Iterator<CustomPojoSerializer> found = ServiceLoader.load(CustomPojoSerializer.class, loader).iterator();
        if (!found.hasNext()) {
            return new JsonMapper();
        }
        CustomPojoSerializer serializer = found.next();
        if (found.hasNext()) {
            throw new Fault("Too many serializers provided inside the META-INF/services folder, only one is allowed", null, true);
        }
        return new OfFunction(serializer);
    }

    private static final class OfFunction extends JsonMapper {
        private final CustomPojoSerializer serializer;

        OfFunction(CustomPojoSerializer serializer) {
            this.serializer = serializer;
        }

        @Override
        Object read(byte[] json, Type type) {
            return serializer.fromJson(new ByteArrayInputStream(json), type);
        }

        @Override
        byte[] write(Object value, Type type) {
            ByteArrayOutputStream output = new ByteArrayOutputStream(1024);
            serializer.toJson(value, output, type);
            return output.toByteArray();
        }
    }
}
