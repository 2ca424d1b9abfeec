package com.example;

import java.io.Serializable;

/** One of the two classes that an overloaded method takes. */
public class Addr implements Serializable {
    private static final long serialVersionUID = 1;

    private String city;

    public String getCity() {
        return city;
    }

    public void setCity(String city) {
        this.city = city;
    }
}
