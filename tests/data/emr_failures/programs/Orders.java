package shop;

import java.io.FileReader;
import java.io.IOException;
import org.apache.spark.sql.SparkSession;

public class Orders {
    static class BadOrders extends RuntimeException {
        BadOrders(String message, Throwable cause) {
            super(message, cause);
        }
    }

    static int read(String path) {
        try (FileReader reader = new FileReader(path)) {
            return reader.read();
        } catch (IOException error) {
            throw new BadOrders("orders of " + path + " cannot be read", error);
        }
    }

    public static void main(String[] args) {
        SparkSession spark = SparkSession.builder().getOrCreate();
        System.out.println(spark.range(read("/mnt/orders/today.csv")).count());
    }
}
